"""What goes in and comes out of the HTTP API about clusters: each body a type, with its limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .schemas import Answer, Given, Text

__all__ = [
    "ActInfo",
    "ActList",
    "ClusterInfo",
    "ClusterList",
    "Comparison",
    "Image",
    "ImageInfo",
    "JobInfo",
    "LinkInfo",
    "LinkList",
    "MapPoints",
    "MemberList",
    "Near",
    "NewAct",
    "Question",
    "QuestionList",
    "Row",
    "TrainingCommand",
    "Undo",
    "Written",
]

Image = Annotated[int, Field(ge=0, le=2**31)]
Images = Annotated[list[Image], Field(min_length=1, max_length=100_000)]


class ImageInfo(Answer):
    """An image of the review."""

    image: int = Field(description="Its position.")
    item: str | None = Field(None, description="Its id in the gallery.")
    camera: str
    time: float | None
    tracklet: str
    label: int = Field(description="Its cluster; -1 = of none.")
    similarity: float | None = Field(None, description="Cosine to the center of the cluster.")


class Near(Answer):
    """Another cluster."""

    label: int
    similarity: float = Field(description="Cosine of the centers.")


class ClusterInfo(Answer):
    """A cluster, and what is conspicuous about it."""

    label: int
    size: int
    cameras: int = Field(description="Number of known ones.")
    spread: float = Field(description="Mean of 1 - cosine to the center.")
    modes: float = Field(description="How far the images come in two looks, 0..1.")
    violated: int = Field(description="Links that it does not obey.")
    badness: float = Field(description="The worst first.")
    reasons: list[str]
    nearest: list[Near]
    cover: list[int] = Field(description="Images, from typical to far off.")


class ClusterList(Answer):
    """A part of the clusters."""

    clusters: list[ClusterInfo]
    total: int
    outliers: int
    clustering: str = Field(description="Names the labels; an act on clusters sends it back.")


class MemberList(Answer):
    """A part of the images of a cluster, the nearest to its center first."""

    members: list[ImageInfo]
    total: int
    label: int
    cameras: int
    reasons: list[str]
    nearest: list[Near]
    clustering: str = Field(description="Names the labels; an act on clusters sends it back.")


class MapPoints(Answer):
    """All images on a plane, by position."""

    x: list[float]
    y: list[float]
    label: list[int]
    camera: list[str]
    clustering: str = Field(description="Names the labels; an act on clusters sends it back.")


class Question(Answer):
    """A pair to be looked at."""

    first: ImageInfo
    second: ImageInfo
    similarity: float
    why: str


class QuestionList(Answer):
    """Pairs, the one whose answer tells most first."""

    questions: list[Question]


class NewAct(Given):
    """What a person says."""

    kind: Literal["merge", "split", "same", "different", "not_subject"]
    labels: Annotated[list[Image], Field(max_length=1000)] | None = Field(
        None, description="Of merge: clusters."
    )
    label: Image | None = Field(None, description="Of split: the cluster.")
    images: Images | None = Field(None, description="Of split: its images; of not_subject.")
    first: Image | None = Field(None, description="Of same and different.")
    second: Image | None = None
    author: Text = Field("", description="Defaults to the name of the token.")
    clustering: Text | None = Field(
        None, description="Of merge and split: the labels that are meant; others are refused."
    )


class Undo(Given):
    """Who takes an act back."""

    author: Text = ""


class ActInfo(Answer):
    """Something that was said."""

    id: str
    kind: str
    text: str = Field(description="In words.")
    author: str
    time: float | None = Field(description="Seconds since 1970.")
    rows: int = Field(description="Of links.csv.")
    undone: bool


class ActList(Answer):
    """All acts, the latest first."""

    acts: list[ActInfo]


class Written(Answer):
    """An act that stands in the file of links."""

    act: ActInfo
    links_written: int


class LinkInfo(Answer):
    """A link that holds."""

    first: int
    second: int
    kind: Literal["must", "cannot"]
    priority: int


class LinkList(Answer):
    """A part of the links that hold, and the images that show no subject."""

    links: list[LinkInfo]
    total: int
    not_subject: list[int]


class JobInfo(Answer):
    """Work in the background."""

    id: str
    kind: str
    state: Literal["waiting", "running", "done", "failed"]
    progress: float | None
    result: dict[str, float | int | str | list[str]] | None
    error: str | None
    log: list[str] = Field(description="Its last lines.")


class Row(Answer):
    """A figure before and after."""

    name: str
    before: float | None
    after: float | None
    better: Literal["higher", "lower", ""] = ""


class Comparison(Answer):
    """What a new clustering or training has changed; no rows before there is one."""

    before: str = Field(description="Which labels the first figures are of, in words.")
    after: str
    rows: list[Row]


class TrainingCommand(Answer):
    """The command that trains again with the links."""

    command: list[str] | None
