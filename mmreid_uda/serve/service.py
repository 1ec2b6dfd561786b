"""What all routes share: the gallery, the review, the model, and what keeps them in order."""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, HTTPException, Request

from mmreid_uda.gallery import Filter, Gallery, Items, too_old
from mmreid_uda.gallery.audit import AuditLog
from mmreid_uda.review import Review
from mmreid_uda.utils.files import atomic_path

from .counterparts import Counterparts
from .embedder import Embedder
from .jobs import Job, Jobs
from .pictures import Thumbnails, encode_jpeg
from .settings import ServerSettings
from .uploads import Upload

__all__ = ["Served", "Service"]

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# What is written to the folder of images; other files of it are somebody else's.
_STORED = re.compile(rf"({_UUID})\.jpg")
_ARRIVED = re.compile(rf"(?:\.\d+\.)?({_UUID})\.[0-9a-f]{{32}}\.jpg")


class Service:
    """What is served.

    Args:
        gallery: None where there is only a run.
        review: Clusters; None where there are none to look at.
        inferencer: The model; None where images cannot be searched for.
        settings: Who may do what.
        folder: Where stored images, thumbnails and the audit lie; None where the gallery has no folder and none was
            named: nothing is stored then.
        run: The work dir of the run that is reviewed; None for others.
    """

    def __init__(
        self,
        gallery: Gallery | None,
        review: Review | None,
        inferencer: Any,
        settings: ServerSettings,
        folder: Path | None = None,
        run: Path | None = None,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self._gallery, self._review, self.run = gallery, review, run
        self.trained: Path | None = None
        self.first_labels = np.zeros(0, np.int64) if review is None else review.labels.copy()
        self._mapping = threading.Lock()
        self._map: np.ndarray | None = None
        self._embedder = None if inferencer is None else Embedder(inferencer)
        self.audit_log = None if folder is None else AuditLog(folder / "audit.jsonl")
        self.thumbnails = Thumbnails(
            None if folder is None else folder / "thumbnails", settings.limits.thumbnails_bytes
        )
        self.jobs = Jobs(settings.limits.jobs)
        self._starting = threading.Lock()
        self.exporting = threading.Lock()
        self.counterparts = Counterparts(gallery, review)
        if gallery is not None and self.images is not None and not settings.read_only:
            self._settle(gallery)

    def map_of(self, review: Review) -> np.ndarray:
        """All images on a plane, made once.

        Args:
            review: The review.

        Returns:
            float32 (N, 2).
        """
        with self._mapping:
            if self._map is None:
                self._map = review.map()
            return self._map

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
    def review(self) -> Review:
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

    def start_alone(self, kind: str, work: Callable[[Job], dict[str, Any]]) -> Job:
        """Start a job unless one of its kind waits or runs.

        Args:
            kind: Of the job.
            work: As of :meth:`.Jobs.start`.

        Returns:
            The job.

        Raises:
            HTTPException: There is such a job.
            queue.Full: Too many are waiting.
        """
        with self._starting:
            if self.jobs.busy(kind):
                raise HTTPException(
                    409,
                    f"found a job of the kind {kind} that has not ended, expected none; wait for it.",
                )
            return self.jobs.start(kind, work)

    def audit(self, request: Request, what: str, **details: Any) -> None:
        """Write down who does what.

        Args:
            request: Of the client.
            what: Such as ``'search'``.
            **details: No images, no vectors.
        """
        if self.audit_log is not None:
            self.audit_log.write(request.state.who, what, client=request.state.client, **details)

    def image_of(self, id_: str, path: str) -> Path:
        """The file of an item.

        Args:
            id_: Of the item.
            path: As the gallery holds it.

        Returns:
            The image that was stored for it; where there is none, that of its path.
        """
        stored = self.stored(id_)
        return stored if stored is not None and stored.exists() else Path(path)

    def stored(self, id_: str) -> Path | None:
        """Where the image of an item lies that was added by HTTP.

        Args:
            id_: Of the item.

        Returns:
            An absolute path, of a file that is there or not; None where nothing is stored.
        """
        return None if self.images is None else self.images.absolute() / f"{id_}.jpg"

    def store(self, items: Items, uploads: list[Upload]) -> None:
        """Put items and their images into the gallery; both are there when this returns.

        An image arrives beside the folder of the images, and takes its place there once its item is in the gallery:
        a server that is killed in between finds and settles it at its next start.

        Args:
            items: With features; their paths are :meth:`stored`.
            uploads: Their images.
        """
        assert self.images is not None
        # Two clients may send one image at the same time: each has a file of its own.
        arriving = self.images / "arriving"
        arrived = [arriving / f"{id_}.{uuid.uuid4().hex}.jpg" for id_ in items.ids]
        for path, upload in zip(arrived, uploads):
            with atomic_path(path) as temporary:
                temporary.write_bytes(encode_jpeg(upload.pixels, 95))
        self.gallery.upsert(items, self.embedder.fingerprint)
        self.gallery.flush()
        for id_, path in zip(items.ids, arrived):
            os.replace(path, self.images / f"{id_}.jpg")
        # Somebody may have deleted an item before its image was there.
        if self.gallery.count(Filter(ids=tuple(items.ids))) < len(items):
            for id_ in items.ids:
                if not self.gallery.count(Filter(ids=(id_,))):
                    (self.images / f"{id_}.jpg").unlink(missing_ok=True)

    def delete(self, where: Filter) -> int:
        """Delete items, their stored images, and their thumbnails; files that the gallery only points to stay.

        Args:
            where: Which ones.

        Returns:
            How many there were.
        """
        named = [
            one
            for items in self.gallery.scan(where, features=False)
            for one in zip(items.ids, items.paths)
        ]
        count = self.gallery.delete(where)
        self.gallery.flush()
        for id_, path in named:
            for place in filter(None, (Path(path), self.stored(id_))):
                self.thumbnails.discard(place)
            if stored := self.stored(id_):
                stored.unlink(missing_ok=True)
        return count

    def expire(self) -> None:
        """Delete what has been in the gallery longer than its settings allow, and write that down."""
        if not self.has_gallery or self.settings.read_only:
            return
        days = self.gallery.settings.retention_days
        deleted = 0 if days is None else self.delete(too_old(days))
        if deleted and self.audit_log is not None:
            self.audit_log.write("server", "delete", why="retention", deleted=deleted)

    def _settle(self, gallery: Gallery) -> None:
        """Give images that a killed server has left their places, and remove what items were deleted of elsewhere."""
        assert self.images is not None
        (self.images / "arriving").mkdir(parents=True, exist_ok=True)
        arrived = _named(self.images / "arriving", _ARRIVED)
        stored = _named(self.images, _STORED)
        if not (arrived or stored or self.thumbnails.total):
            return
        there: set[str] = set()
        known = set(map(Path, self._review.paths if self._review else ()))
        for items in gallery.scan(features=False):
            there.update(items.ids)
            known.update(map(Path, items.paths))
        for path, id_ in arrived:
            if id_ in there and not path.name.startswith("."):  # which was not written to its end
                os.replace(path, self.images / f"{id_}.jpg")
            else:
                path.unlink()
        for path, id_ in stored:
            if id_ not in there:
                path.unlink()
        known.update(self.images.absolute() / f"{id_}.jpg" for id_ in there)
        self.thumbnails.keep(known)

    def close(self) -> None:
        """Stop what is running, and have everything on the disk."""
        self.jobs.close()
        self.thumbnails.close()
        if self._gallery is not None:
            self._gallery.flush()
            self._gallery.close()


async def _served(request: Request) -> Service:
    return request.app.state.service


Served = Annotated[Service, Depends(_served)]
"""What the application serves, as a parameter of a route."""


def _named(folder: Path, pattern: re.Pattern[str]) -> list[tuple[Path, str]]:
    """Files in a folder whose names are of a form, and the id in each name."""
    matches = ((path, pattern.fullmatch(path.name)) for path in folder.iterdir())
    return [(path, match[1]) for path, match in matches if match]
