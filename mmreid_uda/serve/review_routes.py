"""The HTTP API of clusters: look at them, and say what is wrong."""

from __future__ import annotations

import calendar
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from mmreid_uda.review import Act, ClusterTable, Review
from mmreid_uda.utils import InputError

from .counterparts import Counterparts
from .gallery_routes import Page, ThumbnailSize
from .pictures import picture
from .review_schemas import (
    ActInfo,
    ActList,
    ClusterInfo,
    ClusterList,
    ImageInfo,
    LinkInfo,
    LinkList,
    MemberList,
    Near,
    NewAct,
    Undo,
    Written,
)
from .service import Served, Service

__all__ = ["Some", "clustering_of", "image_infos", "router"]

Some = Annotated[int, Query(ge=1, le=1000)]
Order = Literal["worst", "size", "label"]

router = APIRouter(tags=["clusters"])


@router.get("/clusters")
def list_clusters(
    service: Served, order: Order = "worst", offset: Page = 0, limit: Some = 50
) -> ClusterList:
    """Clusters, the worst first, or by size or label."""
    review = service.review
    table = review.clusters()
    place = {
        "worst": np.arange(len(table)),
        "size": np.argsort(-table.sizes, kind="stable"),
        "label": np.argsort(table.labels),
    }[order]
    return ClusterList(
        clusters=[_cluster_info(table, one) for one in place[offset : offset + limit]],
        total=len(table),
        outliers=int((review.labels < 0).sum()),
        clustering=clustering_of(review),
    )


@router.get("/clusters/{label}")
def get_cluster(service: Served, label: int, offset: Page = 0, limit: Some = 100) -> MemberList:
    """The images of a cluster, the nearest to its center first; -1 for those without a cluster."""
    review = service.review
    images, similarity = _members(review, label)
    table = review.clusters()
    row = np.flatnonzero(table.labels == label)
    info = _cluster_info(table, row[0]) if len(row) else None
    shown = slice(offset, offset + limit)
    near = similarity[shown] if label >= 0 else None
    return MemberList(
        members=image_infos(review, images[shown], near, service.counterparts),
        total=len(images),
        label=label,
        cameras=info.cameras if info else len(set(review.evidence.cameras[images]) - {-1}),
        reasons=info.reasons if info else [],
        nearest=info.nearest if info else [],
        clustering=clustering_of(review),
    )


@router.get("/images/{number}/image", response_class=Response)
def get_image(service: Served, request: Request, number: int) -> Response:
    """An image of the review."""
    return _picture(service, request, number, None)


@router.get("/images/{number}/thumbnail", response_class=Response)
def get_thumbnail(
    service: Served, request: Request, number: int, size: ThumbnailSize = 128
) -> Response:
    """A small picture of it."""
    return _picture(service, request, number, size)


@router.post("/acts", status_code=201)
def say(service: Served, request: Request, act: NewAct) -> Written:
    """Say something; it stands in the file of links when this returns."""
    service.require_writable()
    review = service.review
    of_clusters = act.kind in ("merge", "split")
    if of_clusters and act.clustering not in (None, clustering_of(review)):
        raise HTTPException(
            409,
            "found clusters that have been made anew since they were shown, expected those of now; load them "
            "again.",
        )
    author = act.author or request.state.who.partition("@")[0]
    done = _say(review, act, "" if author == "local" else author)
    service.audit(request, "act", kind=done.kind, act=done.id, links=len(done.rows))
    return Written(act=_act_info(done), links_written=len(done.rows))


@router.get("/acts")
def list_acts(service: Served) -> ActList:
    """What was said so far, the latest first."""
    return ActList(acts=[_act_info(one) for one in reversed(service.review.acts())])


@router.post("/acts/{id}/undo")
def undo(service: Served, request: Request, id: str, by: Undo | None = None) -> Written:
    """Take an act back."""
    service.require_writable()
    review = service.review
    if not any(one.id == id for one in review.acts()):
        raise HTTPException(
            404, "found no act of this id, expected one of the list of acts; look there."
        )
    author = (by and by.author) or request.state.who.partition("@")[0]
    done = review.undo(id, "" if author == "local" else author)
    service.audit(request, "act", kind="undo", act=done.id, of=id, links=len(done.rows))
    return Written(act=_act_info(done), links_written=len(done.rows))


@router.get("/links")
def list_links(service: Served, offset: Page = 0, limit: Some = 1000) -> LinkList:
    """Links that hold now."""
    review = service.review
    links = review.links
    part = links.chosen(np.arange(len(links))[offset : offset + limit])
    rows = zip(*(one.tolist() for one in (part.first, part.second, part.must, part.priority)))
    return LinkList(
        links=[
            LinkInfo(first=a, second=b, kind="must" if must else "cannot", priority=priority)
            for a, b, must, priority in rows
        ],
        total=len(links),
        not_subject=np.flatnonzero(review.evidence.ignored)[:1000].tolist(),
    )


def clustering_of(review: Review) -> str:
    """A name of the labels as they are: it changes when images are clustered anew, and their numbers with them.

    Args:
        review: What is looked at.

    Returns:
        Hexadecimal digits.
    """
    return hashlib.sha256(review.labels.tobytes()).hexdigest()[:16]


def _members(review: Review, label: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        return review.members(label)
    except InputError as error:
        raise HTTPException(404, str(error)) from error


def _picture(service: Service, request: Request, number: int, size: int | None) -> Response:
    """An image, or a small picture of it."""
    paths = service.review.paths
    if not 0 <= number < len(paths):
        raise HTTPException(
            404,
            f"found no image {number}, expected 0 to {len(paths) - 1}; take one of a cluster.",
        )
    return picture(request, Path(paths[number]), size, service.thumbnails, f"the image {number}")


def _say(review: Review, act: NewAct, author: str) -> Act:
    """Have an act written, whose parts are those of its kind."""
    needed = {
        "merge": ("labels",),
        "split": ("label", "images"),
        "not_subject": ("images",),
        "same": ("first", "second"),
        "different": ("first", "second"),
    }[act.kind]
    parts = ("labels", "label", "images", "first", "second")
    given = tuple(one for one in parts if getattr(act, one) is not None)
    if given != needed:
        raise InputError(
            f"found {', '.join(given) or 'nothing'} with the act {act.kind}, expected {' and '.join(needed)}; send "
            "those."
        )
    values: list[Any] = [getattr(act, one) for one in needed]
    if act.kind in ("same", "different"):
        return review.answer(values[0], values[1], act.kind == "same", author)
    how: dict[str, Callable[..., Act]] = {
        "merge": review.merge,
        "split": review.split,
        "not_subject": review.not_a_subject,
    }
    return how[act.kind](*values, author=author)


def _cluster_info(table: ClusterTable, row: int) -> ClusterInfo:
    return ClusterInfo(
        label=int(table.labels[row]),
        size=int(table.sizes[row]),
        cameras=int(table.num_cameras[row]),
        spread=round(float(table.spread[row]), 5),
        modes=round(float(table.modes[row]), 5),
        violated=int(table.violated[row]),
        badness=round(float(table.badness[row]), 5),
        reasons=table.reasons[row],
        nearest=[
            Near(label=int(label), similarity=round(float(similarity), 5))
            for label, similarity in zip(table.nearest[row], table.nearest_similarity[row])
        ],
        cover=table.cover[row].tolist(),
    )


def image_infos(
    review: Review,
    images: Sequence[int] | np.ndarray,
    similarity: np.ndarray | None = None,
    counterparts: Counterparts | None = None,
) -> list[ImageInfo]:
    """What is known of images.

    Args:
        review: The review.
        images: Their positions.
        similarity: Cosine to the center of the cluster of each, where it is asked for.
        counterparts: Finds their items, where those are asked for.

    Returns:
        One for each.
    """
    images = np.asarray(images, np.int64)
    evidence, labels = review.evidence, review.labels
    cameras, tracklets = evidence.named_cameras[images], evidence.named_tracklets[images]
    items = counterparts.items(images.tolist()) if counterparts else [None] * len(images)
    return [
        ImageInfo(
            image=int(image),
            item=items[place],
            camera=str(cameras[place]),
            time=float(evidence.times[image]) if math.isfinite(evidence.times[image]) else None,
            tracklet=str(tracklets[place]),
            label=int(labels[image]),
            similarity=None if similarity is None else round(float(similarity[place]), 6),
        )
        for place, image in enumerate(images)
    ]


def _act_info(act: Act) -> ActInfo:
    seconds = None
    with suppress(ValueError):  # somebody may have written the file by hand
        seconds = float(calendar.timegm(time.strptime(act.time, "%Y-%m-%dT%H:%M:%SZ")))
    return ActInfo(
        id=act.id,
        kind=act.kind,
        text=_in_words(act),
        author=act.author,
        time=seconds,
        rows=len(act.rows),
        undone=act.undone,
    )


def _in_words(act: Act) -> str:
    """An act by the names of the images that it is about."""
    rows = [row for row in act.rows if row.kind != "revoke" or act.kind == "undo"]
    joined = [row for row in rows if row.kind == "must"]
    if act.kind == "split" and joined:  # not those from which they are split off
        rows = joined
    paths = [path for row in rows for path in (row.path_a, row.path_b) if path]
    if act.kind == "split" and not joined:
        paths = paths[:1]
    names = list(dict.fromkeys(Path(path).name for path in paths))
    some = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if names[2:] else "")
    start = {
        "merge": "Clusters merged",
        "split": "Images split off",
        "same": "Same subject",
        "different": "Different subjects",
        "not_subject": "Not a subject",
        "undo": "Taken back",
    }[act.kind]
    return f"{start}: {some}"
