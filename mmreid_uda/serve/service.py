"""What all routes share: the gallery, the review, the model, and what keeps them in order."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request

from mmreid_uda.gallery import Filter, Gallery, Items
from mmreid_uda.gallery.audit import AuditLog
from mmreid_uda.utils.files import atomic_path

from .embedder import Embedder
from .jobs import Jobs
from .pictures import Thumbnails, encode_jpeg
from .settings import ServerSettings
from .uploads import Upload

__all__ = ["Service"]


class Service:
    """What is served.

    Args:
        gallery: None where there is only a run.
        review: None where there is only a gallery.
        inferencer: The model; None where images cannot be searched for.
        settings: Who may do what.
        folder: Where stored images, thumbnails and the audit lie; None where the gallery has no folder and none was
            named: nothing is stored then.
    """

    def __init__(
        self,
        gallery: Gallery | None,
        review: Any,
        inferencer: Any,
        settings: ServerSettings,
        folder: Path | None = None,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self._gallery, self._review = gallery, review
        self._embedder = None if inferencer is None else Embedder(inferencer)
        self.audit_log = None if folder is None else AuditLog(folder / "audit.jsonl")
        self.thumbnails = Thumbnails(
            None if folder is None else folder / "thumbnails", settings.limits.thumbnails_bytes
        )
        self.jobs = Jobs(settings.limits.jobs)
        self.changing = threading.Lock()
        if gallery is not None and self.images is not None:
            self._settle_arrived(gallery)

    @property
    def gallery(self) -> Gallery:
        """The gallery.

        Raises:
            HTTPException: There is none.
        """
        if self._gallery is None:
            raise HTTPException(
                404, "found no gallery, expected one: start the server with --gallery."
            )
        return self._gallery

    @property
    def review(self) -> Any:
        """The review of a run or of the gallery.

        Raises:
            HTTPException: There is none.
        """
        if self._review is None:
            raise HTTPException(
                404, "found no clusters, expected some: start the server with --run."
            )
        return self._review

    @property
    def embedder(self) -> Embedder:
        """The model.

        Raises:
            HTTPException: There is none.
        """
        if self._embedder is None:
            raise HTTPException(
                409,
                "found no model, expected that of the gallery: start the server with --config and --checkpoint, or "
                "search by a stored item.",
            )
        return self._embedder

    @property
    def has_gallery(self) -> bool:
        """Whether there is a gallery."""
        return self._gallery is not None

    @property
    def has_review(self) -> bool:
        """Whether there are clusters."""
        return self._review is not None

    @property
    def has_model(self) -> bool:
        """Whether images can be searched for."""
        return self._embedder is not None

    @property
    def images(self) -> Path | None:
        """Folder of the images that were added by HTTP."""
        return None if self.folder is None else self.folder / "images"

    def require_writable(self) -> None:
        """Refuse a change of what is served read-only.

        Raises:
            HTTPException: It is.
        """
        if self.settings.read_only:
            raise HTTPException(
                403,
                "found a change of what is served read-only, expected none: start the server without --read-only.",
            )

    def audit(self, request: Request, what: str, **details: Any) -> None:
        """Write down who does what.

        Args:
            request: Of the client.
            what: Such as ``'search'``.
            **details: No images, no vectors.
        """
        if self.audit_log is not None:
            self.audit_log.write(request.state.who, what, client=request.state.client, **details)

    def path_of(self, path: str) -> Path:
        """The file of an item.

        Args:
            path: As the gallery holds it; a relative one lies in the gallery's folder.

        Returns:
            Its path.
        """
        return Path(path) if self.folder is None else self.folder / path

    def stored_path(self, id_: str) -> str:
        """Where the image of an item lies that is added by HTTP.

        Args:
            id_: Of the item.

        Returns:
            A path relative to the gallery's folder.
        """
        return f"images/{id_}.jpg"

    def store(self, items: Items, uploads: list[Upload]) -> None:
        """Put items and their images into the gallery; both are there when this returns.

        An image arrives beside the folder of the images, and takes its place there once its item is in the gallery:
        a server that is killed in between finds and settles it at its next start.

        Args:
            items: With features and stored paths.
            uploads: Their images.
        """
        assert self.images is not None
        arrived = [self.images / "arriving" / f"{id_}.jpg" for id_ in items.ids]
        for path, upload in zip(arrived, uploads):
            with atomic_path(path) as temporary:
                temporary.write_bytes(encode_jpeg(upload.pixels, 95))
        with self.changing:
            self.gallery.upsert(items, self.embedder.fingerprint)
            self.gallery.flush()
            for path in arrived:
                os.replace(path, self.images / path.name)

    def delete(self, where: Filter) -> int:
        """Delete items, their stored images, and their thumbnails; files that the gallery only points to stay.

        Args:
            where: Which ones.

        Returns:
            How many there were.
        """
        with self.changing:
            named = [
                one
                for items in self.gallery.scan(where, features=False)
                for one in zip(items.ids, items.paths)
            ]
            count = self.gallery.delete(where)
            self.gallery.flush()
            for id_, path in named:
                self.thumbnails.discard(self.path_of(path))
                if path == self.stored_path(id_):
                    self.path_of(path).unlink(missing_ok=True)
        return count

    def _settle_arrived(self, gallery: Gallery) -> None:
        """Give the images that a killed server has left their places, or remove those without an item."""
        assert self.images is not None
        (self.images / "arriving").mkdir(parents=True, exist_ok=True)
        for path in (self.images / "arriving").iterdir():
            whole = path.suffix == ".jpg" and not path.name.startswith(".")
            if whole and gallery.count(Filter(ids=(path.stem,))):
                os.replace(path, self.images / path.name)
            else:
                path.unlink()

    def close(self) -> None:
        """Stop what is running, and have everything on the disk."""
        self.jobs.close()
        self.thumbnails.close()
        if self._gallery is not None:
            self._gallery.flush()
            self._gallery.close()
