"""What goes in and comes out of the HTTP API about the gallery: each body a type, with its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = [
    "Added",
    "Answer",
    "Conditions",
    "Counted",
    "Deletion",
    "Embedding",
    "Error",
    "GalleryInfo",
    "Given",
    "Health",
    "Info",
    "ItemInfo",
    "ItemList",
    "ItemPage",
    "ItemSearch",
    "MatchInfo",
    "NewItem",
    "RunInfo",
    "SearchOptions",
    "SearchResult",
    "Text",
    "ThresholdInfo",
    "VectorSearch",
    "Where",
]

Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A name, without control characters."""
Texts = Annotated[list[Text], Field(max_length=1000)]
Ids = Annotated[list[UUID], Field(min_length=1, max_length=10_000)]
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]
# Features have unit norm, or nearly so: larger ones are none, and their squares too large for float32.
Feature = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Value = bool | Whole | Number | Text | None
Fields = Annotated[dict[Text, Value], Field(max_length=50)]


class Given(BaseModel):
    """A body that a client sends: nothing unknown in it, all numbers finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class Answer(BaseModel):
    """A body that the server sends."""

    model_config = ConfigDict(ser_json_inf_nan="null")


class Error(Answer):
    """The one shape of all errors."""

    error: str = Field(
        description="One sentence: what was found, what was expected, what mends it."
    )


class Health(Answer):
    """Whether the server is there."""

    status: Literal["ok"] = "ok"
    version: str


class ThresholdInfo(Answer):
    """A similarity from which on two images are taken for the same subject."""

    similarity: float
    far: float | None = Field(None, description="False accept rate measured at it.")
    tpr: float | None = Field(None, description="True accept rate measured at it.")


class GalleryInfo(Answer):
    """The gallery; of cameras and identities the thousand with the most items."""

    kind: str
    count: int
    dim: int
    cameras: dict[str, int]
    identities: dict[str, int]
    tracklets: int = Field(description="Number of different ones.")
    threshold: ThresholdInfo | None
    retention_days: float | None
    has_model: bool


class RunInfo(Answer):
    """What the page of clusters is about."""

    name: str
    images: int
    clusters: int
    outliers: int
    links_path: str = Field(description="Name of the file.")


class LimitsInfo(Answer):
    """What a client may send."""

    image_bytes: int
    image_pixels: int
    images: int
    topk: int
    page: int
    rate: float


class Info(Answer):
    """What is served."""

    gallery: GalleryInfo | None
    run: RunInfo | None
    limits: LimitsInfo
    training: bool
    read_only: bool
    who: str = Field(description="Name of the token, or 'local'.")


class Conditions(Given):
    """Conditions on items that an address can say, too, all of those that are given; '' stands for unknown."""

    ids: Ids | None = None
    cameras: Texts | None = None
    not_cameras: Texts | None = None
    identities: Texts | None = None
    not_identities: Texts | None = None
    tracklets: Texts | None = None
    not_tracklets: Texts | None = None
    since: Number | None = Field(None, description="Taken at this time, in seconds, or later.")
    until: Number | None = Field(None, description="Taken before this time.")
    added_since: Number | None = Field(
        None, description="Added then (seconds since 1970) or later."
    )
    added_before: Number | None = Field(None, description="Added before then.")


class Where(Conditions):
    """Conditions on items in a body."""

    fields: Fields | None = None


class ItemPage(Conditions):
    """A part of the items that meet conditions, in an address."""

    offset: int = Field(0, ge=0, le=2**31)
    limit: int = Field(100, ge=1, le=1000)


class SearchOptions(Where):
    """Which items are searched, and how."""

    topk: int = Field(50, ge=1, description="Matches; the server's limit holds, too.")
    group_by: Literal["tracklet", "identity"] | None = None
    exact: bool | None = Field(None, description="Defaults to true up to a size of the gallery.")
    rerank: bool = False
    center: bool = False
    threshold: float | None = Field(None, ge=-1, le=1, description="Lowest similarity.")
    query_camera: Text = Field("", description="Camera of the query, for centering.")


class ItemSearch(SearchOptions):
    """A search by stored items, which are left out of the matches; conditions are on the matches."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=64)]


class VectorSearch(SearchOptions):
    """A search by features of one subject."""

    features: Annotated[
        list[Annotated[list[Feature], Field(min_length=1, max_length=65536)]],
        Field(min_length=1, max_length=64),
    ]


class MatchInfo(Answer):
    """One match."""

    id: str
    similarity: float
    score: float | None = Field(None, description="By which matches are ranked anew.")
    camera: str
    time: float | None
    tracklet: str
    identity: str
    path: str = Field(description="Name of the file, without its folder.")
    group_size: int | None = Field(None, description="Items of the group, of a grouped search.")
    image: int | None = Field(None, description="Position of the same file among the clusters.")


class SearchResult(Answer):
    """Matches, best first."""

    matches: list[MatchInfo]
    took_ms: float
    exact: bool


class Embedding(Answer):
    """Features of images, unit rows."""

    features: list[list[float]]
    fingerprint: str


class ItemInfo(Answer):
    """What is known of an item."""

    id: str
    path: str = Field(description="Name of the file, without its folder.")
    camera: str
    time: float | None
    tracklet: str
    identity: str
    added: float | None
    fields: dict[str, Any]
    image: int | None = Field(None, description="Position of the same file among the clusters.")


class ItemList(Answer):
    """A part of the items, in the order of their ids."""

    items: list[ItemInfo]
    total: int


class NewItem(Given):
    """What is known of images that are added; it holds for all images of the request."""

    camera: Text = ""
    time: Number | None = None
    tracklet: Text = ""
    identity: Text = ""
    fields: Fields = {}


class Added(Answer):
    """Items that are in the gallery, and stay there whatever happens to the server."""

    ids: list[str]


class Changes(Given):
    """One identity, or other fields, for some items."""

    ids: Ids
    identity: Text | None = None
    fields: Fields | None = None


class Deletion(Given):
    """Which items are to be deleted."""

    where: Where
    everything: bool = Field(False, description="Allows a deletion without conditions.")


class Counted(Answer):
    """How many items it was."""

    count: int
