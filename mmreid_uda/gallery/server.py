"""A gallery on a Qdrant server, which several processes and machines use at the same time."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from mmreid_uda.utils import InputError, in_a_line
from mmreid_uda.utils.packages import import_package

from .qdrant import HNSW_EF, INDEXED, Point, QdrantGallery
from .settings import GallerySettings

__all__ = ["ServerGallery"]

# Of the collection's metadata, which hold the settings as JSON.
_KEY = "mmreid_uda"
_SECONDS = 60


class ServerGallery(QdrantGallery):
    """Items in a collection of a Qdrant server (1.16 or later), whose metadata hold the settings.

    A change is as durable as the server makes it, which has written its log when it answers; it builds the index of an
    approximate search on its own. Settings that another process changes are seen when the gallery is opened again.
    The collection is made with the first items.

    Args:
        url: ``qdrant+http://HOST:PORT/COLLECTION`` or ``qdrant+https://...``; the key of the API is taken from the
            environment variable ``QDRANT_API_KEY``. ``qdrant+local:FOLDER/COLLECTION`` is the client's own imitation of
            a server, for trials.
        create: Settings of a gallery that is made where there is none. Defaults to None: there must be one.
        read_only: Whether everything that changes it is refused. Defaults to False.

    Raises:
        InputError: The address is none, the server does not answer, the collection is missing or no gallery; or
            qdrant-client is missing.
    """

    kind = "server"

    def __init__(
        self, url: str, create: GallerySettings | None = None, read_only: bool = False
    ) -> None:
        package = import_package("qdrant_client", "a gallery on a server", "mmreid_uda[qdrant]")
        self.types = package.models
        self._api_error: type[Exception] = import_package(
            "qdrant_client.http.exceptions", "a gallery on a server", "mmreid_uda[qdrant]"
        ).ApiException
        self._client, self._collection, self._turn = _connected(package.QdrantClient, url)
        self._local = url.startswith("qdrant+local:")  # compares with all items, without any index
        self._made, settings = False, create
        self.url = url
        try:
            if self._ask("collection_exists"):
                settings, self._made = self._read_settings(), True
            elif create is None:
                raise InputError(
                    f"found no collection {self._collection!r} at {url!r}, expected one that `mmreid gallery add` has "
                    "made: correct the name."
                )
            assert settings is not None
            super().__init__(url, settings, read_only)
            if not self._made:
                self._store_settings(settings)
        except BaseException:
            self._client.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _read_settings(self) -> GallerySettings:
        text = (self._ask("get_collection").config.metadata or {}).get(_KEY)
        if not isinstance(text, str):
            raise InputError(
                f"found no settings with the collection {self._collection!r} at {self.url!r}, expected those of a "
                "gallery in its metadata, which servers from 1.16 on keep: name another collection, or update the "
                "server."
            )
        return GallerySettings.of_json(json.loads(text), self.url)

    def _store_settings(self, settings: GallerySettings) -> None:
        metadata = {_KEY: json.dumps(settings.as_json())}
        if self._made:
            self._ask("update_collection", metadata=metadata)
        elif settings.dim:
            models = self.types
            vectors = models.VectorParams(size=settings.dim, distance=models.Distance.DOT)
            self._ask("create_collection", vectors_config=vectors, metadata=metadata)
            for key, kind in () if self._local else INDEXED.items():
                self._ask("create_payload_index", field_name=key, field_schema=kind)
            self._made = True

    def _ask(self, name: str, **arguments: Any) -> Any:
        with self._turn:
            try:
                return getattr(self._client, name)(self._collection, **arguments)
            except self._api_error as error:
                raise InputError(
                    f"the server of the gallery {self.url!r} has answered {in_a_line(error)}, expected a Qdrant server "
                    "that is up and lets us in: start it, correct the address, or set QDRANT_API_KEY."
                ) from error

    @property
    def _there(self) -> bool:
        return self._made

    def _range(self, since: int | None, until: int | None) -> Any:
        return self.types.Range(gte=since, lt=until)

    def _has_id(self, ids: Sequence[str]) -> Any:
        return self.types.HasIdCondition(has_id=list(ids))

    def _upsert_points(
        self, ids: list[str], vectors: list[list[float]], payloads: list[dict[str, Any]]
    ) -> None:
        points = [
            self.types.PointStruct(id=one, vector=vector, payload=payload)
            for one, vector, payload in zip(ids, vectors, payloads)
        ]
        self._ask("upsert", points=points, wait=True)

    def _delete_points(self, condition: Any) -> None:
        selector = self.types.FilterSelector(filter=condition)
        self._ask("delete", points_selector=selector, wait=True)

    def _set_payload(self, ids: Sequence[str], payload: dict[str, Any]) -> None:
        self._ask("set_payload", payload=payload, points=list(ids), wait=True)

    def _retrieve(self, ids: Sequence[str], payload: bool, vector: bool) -> list[Point]:
        return self._ask("retrieve", ids=list(ids), with_payload=payload, with_vectors=vector)

    def _scroll(
        self, offset: Any, limit: int, condition: Any, vector: bool
    ) -> tuple[list[Point], Any]:
        return self._ask(
            "scroll",
            scroll_filter=condition,
            limit=limit,
            offset=offset,
            with_payload=True,
            with_vectors=vector,
        )

    def _query(
        self, rows: np.ndarray, limit: int, condition: Any, exact: bool
    ) -> list[list[Point]]:
        params = None if self._local else self.types.SearchParams(exact=exact, hnsw_ef=HNSW_EF)
        requests = [
            self.types.QueryRequest(
                query=row,
                limit=limit,
                filter=condition,
                params=params,
                with_payload=True,
            )
            for row in rows.tolist()
        ]
        return [one.points for one in self._ask("query_batch_points", requests=requests)]

    def _count(self, condition: Any) -> int:
        return self._ask("count", count_filter=condition, exact=True).count

    def _facet(self, key: str, condition: Any, limit: int) -> list[tuple[str, int]]:
        found = self._ask("facet", key=key, facet_filter=condition, limit=limit, exact=True)
        return [(str(one.value), one.count) for one in found.hits]


def _connected(
    client: Callable[..., Any], url: str
) -> tuple[Any, str, AbstractContextManager[Any]]:
    """The client, the collection, and what threads that use it take turns by."""
    address, _, collection = url.removeprefix("qdrant+").rpartition("/")
    if address.startswith("local:") and collection:
        try:
            # It knows no threads; here they take turns.
            local = client(
                path=address.removeprefix("local:"), force_disable_check_same_thread=True
            )
        except RuntimeError as error:
            raise InputError(
                f"found the gallery {url!r} open already ({in_a_line(error)}), expected one process at a time: close "
                "it there, or start a server."
            ) from error
        return local, collection, threading.Lock()
    if not (collection and address.partition("://")[0] in ("http", "https") and address[8:]):
        raise InputError(
            f"found {url!r} as a gallery on a server, expected qdrant+http://HOST:PORT/COLLECTION, "
            "qdrant+https://HOST:PORT/COLLECTION or qdrant+local:FOLDER/COLLECTION: correct the address."
        )
    key = os.environ.get("QDRANT_API_KEY") or None
    options = dict(api_key=key, timeout=_SECONDS, check_compatibility=False)
    return client(url=address, **options), collection, nullcontext()
