"""A gallery by its URL."""

from __future__ import annotations

from pathlib import Path

from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, checked

from .file_gallery import FileGallery
from .gallery import BATCH, Gallery
from .items import Items
from .settings import GallerySettings

__all__ = ["export_items", "import_items", "open_gallery"]


@checked
def open_gallery(
    url: str | Path,
    *,
    create: GallerySettings | None = None,
    dim: Count | None = None,
    read_only: bool = False,
) -> Gallery:
    """Open a gallery, or make one.

    Args:
        url: ``file:NAME.npz``, or a path that ends in ``.npz``, is a file, see
            :class:`~mmreid_uda.gallery.FileGallery`.
        create: Settings of the gallery that is made where there is none. Defaults to None: there must be one.
        dim: D of a gallery that is made; otherwise the first items decide. One that is there must have it.
        read_only: Whether everything that changes it is refused. Defaults to False.

    Returns:
        The gallery; use it in a ``with`` block, or close it.

    Raises:
        InputError: There is no gallery and none is to be made, it is something else, its dimension is another one, or
            its fingerprint is not that of ``create``.
    """
    text = str(url)
    scheme, _, place = text.rpartition(":") if text.startswith("file:") else ("", "", text)
    if not (scheme == "file" or place.endswith(".npz")):
        raise InputError(
            f"found {text!r} as a gallery, expected a path that ends in .npz: correct the name."
        )
    if create is not None and dim is not None:
        create = create.changed(dim=dim)
    if Path(place).is_file() or create is None:
        gallery: Gallery = FileGallery.load(place, read_only)
    else:
        gallery = FileGallery(Items.of(None, []), create, path=place, read_only=read_only)
    return gallery


def export_items(gallery: Gallery, path: str | Path) -> int:
    """Write all items and settings of a gallery to one ``.npz`` file, which is a gallery, too.

    Holds all features in memory, 4·N·D bytes.

    Args:
        gallery: Any.
        path: Name that ends in ``.npz``.

    Returns:
        Number of items.

    Raises:
        InputError: Another name, or the file cannot be written.
    """
    parts = list(gallery.scan())
    items = Items.joined(parts) if parts else Items.of(None, [])
    FileGallery(items, gallery.settings).save(path)
    return len(items)


def import_items(gallery: Gallery, path: str | Path) -> int:
    """Add the items of a file to a gallery, in the place of those of the same identifiers.

    Args:
        gallery: Any.
        path: Of :func:`export_items`, a gallery, or features with labels, see :meth:`FileGallery.load`.

    Returns:
        Number of items in the file.

    Raises:
        InputError: It is no such file, or of another model or dimension.
    """
    source = FileGallery.load(path, read_only=True)
    for items in source.scan(batch=BATCH):
        gallery.upsert(items, source.fingerprint)
    return len(source)
