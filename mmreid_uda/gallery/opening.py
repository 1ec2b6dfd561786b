"""A gallery by its URL."""

from __future__ import annotations

from pathlib import Path

from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, checked

from .embedded import EmbeddedGallery
from .file_gallery import FileGallery, require_npz
from .gallery import Gallery
from .items import Items
from .server import ServerGallery
from .settings import GallerySettings
from .store import BATCH, require_same_model

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
        url: ``embedded:FOLDER``, or a path alone, is a folder, see
            :class:`~mmreid_uda.gallery.embedded.EmbeddedGallery`. ``file:NAME.npz``, or a path that ends in ``.npz``,
            is a file, see :class:`~mmreid_uda.gallery.FileGallery`. ``qdrant+http://HOST:PORT/COLLECTION`` is a
            server, see :class:`~mmreid_uda.gallery.server.ServerGallery`.
        create: Settings of the gallery that is made where there is none. Defaults to None: there must be one.
        dim: D of a gallery that is made; otherwise the first items decide. One that is there must have it.
        read_only: Whether everything that changes it is refused. Defaults to False.

    Returns:
        The gallery; use it in a ``with`` block, or close it.

    Raises:
        InputError: There is no gallery and none is to be made, it is something else, its dimension is another one, or
            its fingerprint is not that of ``create``.
    """
    if dim is not None:
        create = None if create is None else create.changed(dim=dim)
    gallery = _open(str(url), create, read_only)
    try:
        if create is not None:
            require_same_model(create.fingerprint, gallery.fingerprint, gallery.url)
        if dim is not None and gallery.dim not in (0, dim):
            raise InputError(
                f"found features of {gallery.dim} dimensions in the gallery {gallery.url!r}, expected {dim}: name the "
                "gallery of this model, or another one."
            )
    except InputError:
        gallery.close()
        raise
    return gallery


def _open(url: str, create: GallerySettings | None, read_only: bool) -> Gallery:
    if url.startswith("qdrant+"):
        return ServerGallery(url, create, read_only)
    scheme, colon, place = url.partition(":")
    if not colon or scheme not in ("file", "embedded"):
        scheme, place = ("file" if url.endswith(".npz") else "embedded"), url
    if not place or "://" in place:
        raise InputError(
            f"found {url!r} as a gallery, expected a folder, a name in .npz, or qdrant+http://HOST:PORT/COLLECTION: "
            "correct the address."
        )
    if scheme == "embedded":
        return EmbeddedGallery(place, create, read_only)
    if create is None or Path(place).is_file():
        return FileGallery.load(place, read_only)
    require_npz(place)
    return FileGallery(Items.of(None, []), create, path=place, read_only=read_only)


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
