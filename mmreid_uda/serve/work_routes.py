"""The HTTP API of what comes of corrections: questions, a map, new labels, a training, an export."""

from __future__ import annotations

import io
import math
import sys
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from mmreid_uda.review import Review, compare_runs, free_folder, next_training
from mmreid_uda.utils.packages import import_package

from .gallery_routes import rounded
from .jobs import Job, Training
from .review_routes import clustering_of, image_infos
from .review_schemas import (
    Comparison,
    JobInfo,
    MapPoints,
    Question,
    QuestionList,
    Row,
    TrainingCommand,
)
from .service import Served

__all__ = ["router"]

# Figures of which it is known what is better.
_LOWER = ("must_violated", "cannot_violated", "seen_together")
_HIGHER = ("f_score", "nmi", "ari", "precision", "recall", "purity", "tracklet_purity")

router = APIRouter(tags=["clusters"])


@router.get("/map")
def get_map(service: Served) -> MapPoints:
    """All images on a plane."""
    review = service.review
    points = service.map_of(review)
    return MapPoints(
        x=rounded(points[:, 0], 4),
        y=rounded(points[:, 1], 4),
        label=review.labels.tolist(),
        camera=review.evidence.named_cameras.tolist(),
        clustering=clustering_of(review),
    )


@router.get("/questions")
def get_questions(
    service: Served,
    num: Annotated[int, Query(ge=1, le=200)] = 10,
    rule: Literal["ask_me", "random"] = "ask_me",
) -> QuestionList:
    """Pairs whose answer tells most, or pairs at random."""
    review = service.review
    found = review.questions(num, rule)
    infos = iter(image_infos(review, [i for one in found for i in (one.first, one.second)]))
    return QuestionList(
        questions=[
            Question(
                first=first,
                second=second,
                similarity=round(float(one.similarity), 6),
                why=one.why,
            )
            for one, first, second in zip(found, infos, infos)
        ]
    )


@router.post("/recluster", status_code=202)
def recluster(service: Served, request: Request) -> JobInfo:
    """Cluster again with the links as they are now."""
    service.require_writable()
    review = service.review

    def work(job: Job) -> dict[str, Any]:
        labels = review.recluster()
        service.trained = None  # the comparison is that of the last job
        return {
            "clusters": len(set(labels.tolist()) - {-1}),
            "outliers": int((labels < 0).sum()),
        }

    job = service.start_alone("recluster", work)
    service.audit(request, "recluster")
    return _job_info(job)


@router.get("/jobs/{id}")
def get_job(service: Served, id: str) -> JobInfo:
    """How far a job is."""
    job = service.jobs.find(id)
    if job is None:
        raise HTTPException(
            404, "found no job of this id, expected one that was started; start it again."
        )
    return _job_info(job)


@router.get("/trainings")
def get_training(service: Served) -> TrainingCommand:
    """The command that trains again with the links."""
    review, run = service.review, service.run
    command = None if run is None else next_training(run, review.links_path)
    return TrainingCommand(command=command)


@router.post("/trainings", status_code=202)
def train(service: Served, request: Request) -> JobInfo:
    """Train again with the links, where the server allows it."""
    service.require_writable()
    review, run = service.review, service.run
    if run is None or not service.settings.train:
        raise HTTPException(
            403,
            "found a training asked for, expected none of this server; start it with --run and --train, or run "
            "the command yourself.",
        )
    folder = free_folder(run)
    command = next_training(run, review.links_path, folder)
    # That of this interpreter, wherever the shell would find another one.
    words = [sys.executable, "-m", "mmreid_uda.cli.main", *command[1:]]
    training = Training(words, service.jobs.stopping)

    def work(job: Job) -> dict[str, Any]:
        training(job)
        service.trained = folder
        return {"work_dir": str(folder)}

    job = service.start_alone("training", work)
    service.audit(request, "train", command=command)
    return _job_info(job)


@router.get("/compare")
def compare(service: Served) -> Comparison:
    """Figures before and after the last job: a training (of the two runs), or clustering again (of the labels)."""
    review = service.review
    if service.run is not None and service.trained is not None:
        found = compare_runs(service.run, service.trained, review.links_path, review.root)
        names = service.run.name, service.trained.name
        return Comparison(
            before=f"the run {names[0]}",
            after=f"the run {names[1]}",
            rows=[_row(*one) for one in found],
        )
    before = service.first_labels
    if np.array_equal(before, review.labels):
        return Comparison(before="", after="", rows=[])
    old, new = review.health(before), review.health()
    return Comparison(
        before="the labels at the start of the server",
        after="clustered again",
        rows=[_row(name, old.get(name), new[name]) for name in new],
    )


@router.get("/export/review.parquet", response_class=Response)
def export(service: Served, request: Request) -> Response:
    """All images as a table: path, camid, label, similarity, x, y, embedding."""
    review = service.review
    with service.exporting:
        content = _parquet(review, service.map_of(review))
    service.audit(request, "export", images=len(review))
    return Response(
        content,
        media_type="application/vnd.apache.parquet",
        headers={"content-disposition": 'attachment; filename="review.parquet"'},
    )


def _job_info(job: Job) -> JobInfo:
    return JobInfo(
        id=job.id,
        kind=job.kind,
        state=job.state,
        progress=job.progress,
        result=job.result,
        error=job.error,
        log=list(job.log),
    )


def _row(name: str, before: float | None, after: float | None) -> Row:
    return Row(
        name=name.replace("_", " "),
        before=_figure(before),
        after=_figure(after),
        better="lower" if name in _LOWER else "higher" if name in _HIGHER else "",
    )


def _figure(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 5)


def _parquet(review: Review, points: np.ndarray) -> bytes:
    """The table that programs for looking at data sets open."""
    arrow = import_package("pyarrow", "the export as parquet", "mmreid_uda[serve]")
    parquet = import_package("pyarrow.parquet", "the export as parquet", "mmreid_uda[serve]")
    features, labels = review.features, review.labels
    similarity = np.full(len(review), np.nan, np.float32)
    for label in np.unique(labels[labels >= 0]):
        images, cosine = review.members(label)
        similarity[images] = cosine
    embedding = arrow.FixedSizeListArray.from_arrays(
        arrow.array(features.reshape(-1)), features.shape[1]
    )
    table = arrow.table(
        {
            "path": review.paths,
            "camid": review.evidence.cameras,
            "label": labels,
            "similarity": arrow.array(similarity, from_pandas=True),
            "x": points[:, 0].astype(np.float32),
            "y": points[:, 1].astype(np.float32),
            "embedding": embedding,
        }
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()
