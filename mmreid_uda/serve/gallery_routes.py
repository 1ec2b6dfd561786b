"""The HTTP API of the gallery: embed, search, add, change, delete, pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from fastapi import APIRouter, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from mmreid_uda.gallery import Filter, Items, Match, Sightings, content_id
from mmreid_uda.utils import InputError

from .errors import sentence_of
from .pictures import picture
from .schemas import (
    Added,
    Changes,
    Conditions,
    Counted,
    Deletion,
    Embedding,
    Given,
    ItemInfo,
    ItemList,
    ItemPage,
    ItemSearch,
    MatchInfo,
    NewItem,
    SearchOptions,
    SearchResult,
    VectorSearch,
    Where,
)
from .service import Served, Service
from .uploads import Upload, read_uploads

__all__ = ["Images", "Page", "ThumbnailSize", "filter_of", "rounded", "router"]

Images = Annotated[
    list[UploadFile], File(description="JPEG, PNG, WebP or BMP; several show one subject.")
]
Page = Annotated[int, Query(ge=0, le=2**31)]
ThumbnailSize = Annotated[
    int, Query(ge=16, le=256, description="Longer side in pixels, 64, 128 or 256 or less.")
]

router = APIRouter(tags=["gallery"])

_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}, "image/png": {}}, "description": "The picture."},
    304: {"description": "The client has this version."},
}


@router.post("/embed")
def embed(service: Served, request: Request, file: Images) -> Embedding:
    """Features of images."""
    uploads = _uploads(service, file)
    features = _embedded(service, uploads)
    service.audit(request, "embed", images=[one.digest for one in uploads])
    return Embedding(
        features=[rounded(row, 7) for row in features], fingerprint=service.embedder.fingerprint
    )


@router.post("/search")
def search_by_images(
    service: Served,
    request: Request,
    image: Images,
    query: Annotated[str, Form(max_length=100_000)] = "{}",
) -> SearchResult:
    """Search by an image, or by several of one subject; `query` is JSON, as the body of a search by vectors."""
    options = _parsed(SearchOptions, query, "query")
    uploads = _uploads(service, image)
    features = _embedded(service, uploads)
    find = partial(service.gallery.search_together, features, sightings=_seen(options))
    return _search(service, request, options, find, images=[one.digest for one in uploads])


@router.post("/search/vector")
def search_by_vectors(service: Served, request: Request, options: VectorSearch) -> SearchResult:
    """Search by the features of one or several images of one subject."""
    lengths = {len(row) for row in options.features}
    if len(lengths) > 1:
        raise InputError(
            f"found features of {sorted(lengths)} numbers, expected {service.gallery.dim} each; send those of one "
            "model."
        )
    rows = np.array(options.features, np.float64)
    find = partial(service.gallery.search_together, rows, sightings=_seen(options))
    return _search(service, request, options, find, vectors=len(rows))


@router.post("/search/items")
def search_by_items(service: Served, request: Request, options: ItemSearch) -> SearchResult:
    """Search by stored items, taken for one subject; they are no matches themselves."""
    ids = [str(one) for one in options.ids]
    _items(service, ids)

    def find(**how: Any) -> list[Match]:
        return service.gallery.search_items(ids, together=True, **how)[0]

    return _search(service, request, options, find, ids=ids)


@router.get("/items")
def list_items(service: Served, wanted: Annotated[ItemPage, Query()]) -> ItemList:
    """Items in the order of their ids."""
    where = filter_of(wanted)
    batches = service.gallery.scan(where, features=False)
    found = islice(
        (one for items in batches for one in _item_infos(items, service)),
        wanted.offset,
        wanted.offset + wanted.limit,
    )
    return ItemList(items=list(found), total=service.gallery.count(where))


@router.get("/items/{id}")
def get_item(service: Served, id: UUID) -> ItemInfo:
    """What is known of an item."""
    return next(_item_infos(_items(service, [str(id)]), service))


@router.get("/items/{id}/image", response_class=Response, responses=_PICTURE)
def get_image(service: Served, request: Request, id: UUID) -> Response:
    """The image of an item."""
    return _picture(service, request, id, None)


@router.get("/items/{id}/thumbnail", response_class=Response, responses=_PICTURE)
def get_thumbnail(
    service: Served, request: Request, id: UUID, size: ThumbnailSize = 128
) -> Response:
    """A small picture of an item."""
    return _picture(service, request, id, size)


@router.post("/items", status_code=201)
def add_items(
    service: Served,
    request: Request,
    image: Images,
    payload: Annotated[str, Form(max_length=100_000)] = "{}",
) -> Added:
    """Add images, or change what is known of them; `payload` is a NewItem as JSON, which holds for all of them."""
    service.require_writable()
    known = _parsed(NewItem, payload, "payload")
    if service.has_gallery and service.images is None:
        raise HTTPException(
            409,
            "found a gallery without a folder, expected one for the images that are added: start the server with "
            "--folder.",
        )
    unique = {content_id(one.content): one for one in _uploads(service, image)}
    ids, uploads = list(unique), list(unique.values())
    num = len(ids)
    items = Items.of(
        _embedded(service, uploads),
        [str(service.stored(one)) for one in ids],
        ids=ids,
        cameras=[known.camera] * num,
        times=[math.nan if known.time is None else known.time] * num,
        tracklets=[known.tracklet] * num,
        identities=[known.identity] * num,
        fields=[known.fields] * num,
    )
    service.store(items, uploads)
    service.audit(request, "add", ids=ids, images=[one.digest for one in uploads])
    return Added(ids=ids)


@router.patch("/items")
def change_items(service: Served, request: Request, changes: Changes) -> Counted:
    """Give items one identity ('' = unknown), or fields (null takes one away)."""
    service.require_writable()
    ids = list(dict.fromkeys(map(str, changes.ids)))
    _items(service, ids)
    service.gallery.update(ids, identity=changes.identity, fields=changes.fields)
    service.gallery.flush()
    service.audit(request, "change", ids=ids, identity=changes.identity)
    return Counted(count=len(ids))


@router.post("/items/delete")
def delete_items(service: Served, request: Request, deletion: Deletion) -> Counted:
    """Delete items, their stored images and thumbnails."""
    service.require_writable()
    where = filter_of(deletion.where)
    if not where and not deletion.everything:
        raise InputError(
            "found a deletion without a condition, expected one; say everything=true to delete all items."
        )
    count = service.delete(where)
    said = deletion.where.model_dump(mode="json", exclude_none=True)
    service.audit(request, "delete", where=said, items=count)
    return Counted(count=count)


def filter_of(where: Conditions) -> Filter:
    """Conditions as galleries take them.

    Args:
        where: As a client sends them; ids of a search by items are its query, no condition.

    Returns:
        The filter.
    """
    found: dict[str, Any] = {}
    for name in Where.model_fields:
        value = getattr(where, name, None)
        if value is not None and not (name == "ids" and isinstance(where, ItemSearch)):
            found[name] = tuple(map(str, value)) if isinstance(value, list) else value
    return Filter(**found)


def rounded(values: Any, digits: int) -> list[float]:
    """Numbers as JSON shows them.

    Args:
        values: Numbers.
        digits: Behind the point.

    Returns:
        Floats.
    """
    return [round(float(one), digits) for one in values]


def _uploads(service: Service, images: list[UploadFile]) -> list[Upload]:
    return read_uploads(images, service.settings.limits, service.embedder.decoder)


def _embedded(service: Service, uploads: list[Upload]) -> np.ndarray:
    return service.embedder.extract([one.pixels for one in uploads])


def _search(
    service: Service,
    request: Request,
    options: SearchOptions,
    find: Callable[..., list[Match]],
    **query: Any,
) -> SearchResult:
    """Search as the options say.

    Args:
        service: What is served.
        request: Of the client.
        options: What was asked for.
        find: Takes them, and gives the matches of the query.
        **query: What the audit says of it.
    """
    gallery, limits = service.gallery, service.settings.limits
    if options.topk > limits.topk:
        raise InputError(
            f"found topk={options.topk}, expected at most {limits.topk}; ask for fewer matches."
        )
    exact = options.exact
    if exact is None:
        exact = gallery.count() <= gallery.settings.exact_up_to
    where = filter_of(options)
    started = time.perf_counter()
    matches = find(
        topk=options.topk,
        where=where,
        exact=exact,
        group_by=options.group_by,
        threshold=options.threshold,
        rerank=options.rerank,
        center=options.center,
    )
    took = 1000 * (time.perf_counter() - started)
    said = options.model_dump(mode="json", exclude_none=True, exclude={"ids", "features"})
    service.audit(request, "search", **query, options=said, matches=len(matches))
    return SearchResult(matches=_match_infos(matches, service), took_ms=round(took, 2), exact=exact)


def _items(service: Service, ids: list[str]) -> Items:
    """Items without their features, each once; 404 where one is missing."""
    try:
        return service.gallery.get(list(dict.fromkeys(ids)), features=False)
    except InputError as error:
        raise HTTPException(404, str(error)) from error


def _picture(service: Service, request: Request, id_: UUID, size: int | None) -> Response:
    """The image of an item, or a small picture of it."""
    [path] = _items(service, [str(id_)]).paths
    place = service.image_of(str(id_), path)
    return picture(request, place, size, service.thumbnails, f"the item {id_}")


def _seen(options: SearchOptions) -> Sightings | None:
    """The camera of the query, which centering takes."""
    if not options.query_camera:
        return None
    return Sightings(np.array([options.query_camera]), np.array([math.nan]))


def _parsed(kind: type[Given], text: str, name: str) -> Any:
    """JSON in a field of a form."""
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise InputError(sentence_of(error.errors(include_input=False), name)) from error


def _match_infos(matches: Sequence[Match], service: Service) -> list[MatchInfo]:
    images = service.counterparts.images(match.path for match in matches)
    return [
        MatchInfo(
            id=match.id,
            similarity=round(match.similarity, 6),
            score=None if match.score is None else round(match.score, 6),
            camera=match.camera,
            time=_finite(match.time),
            tracklet=match.tracklet,
            identity=match.identity,
            path=_file_name(match.path),
            group_size=match.group_size,
            image=image,
        )
        for match, image in zip(matches, images)
    ]


def _item_infos(items: Items, service: Service) -> Any:
    images = service.counterparts.images(items.paths)
    for number, id_ in enumerate(items.ids):
        yield ItemInfo(
            id=id_,
            path=_file_name(items.paths[number]),
            camera=str(items.cameras[number]),
            time=_finite(items.times[number]),
            tracklet=str(items.tracklets[number]),
            identity=str(items.identities[number]),
            added=_finite(items.added[number]),
            fields=items.fields[number],
            image=images[number],
        )


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _file_name(path: str) -> str:
    """Where a file lies is nobody's business."""
    return path.replace("\\", "/").rpartition("/")[2]
