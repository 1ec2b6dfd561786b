"""What the readers of your own images have in common, be they in folders or in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split
from mmreid_uda.utils.values import Positive

from .base_reid import ReIDDataset
from .clock import Clock
from .ids import IdSlice, sorted_ids
from .unknown import known

__all__ = ["TOLD", "OwnImages"]

TOLD = ("pid", "camid", "time", "tracklet")
"""Keys of the records whose values are texts of the user: groups of a pattern, columns of a table."""


class OwnImages(ReIDDataset):
    """What folders and tables have in common: texts of an image become an identity, a camera, a time, a tracklet.

    Args:
        data_root: See :class:`ReIDDataset`.
        split: See :class:`ReIDDataset`.
        pipeline: See :class:`ReIDDataset`.
        ids: Keep only these identities: a list of them, or ``dict(start=, stop=, step=)``, a slice of the sorted
            ones, to split training from test people.
        frame_rate: Frames per second where times are numbers of frames, of all cameras or by name of camera, such as
            ``{'1': 25, '2': 12.5}``. Defaults to None: numbers are seconds, other texts dates.
        clock_offsets: Seconds that are added to the times of a camera, by its name, so that all have one clock.
        **kwargs: See :class:`ReIDDataset`.
    """

    def __init__(
        self,
        data_root: str,
        split: Split,
        pipeline: Sequence[dict | Callable],
        *,
        ids: Sequence[Any] | IdSlice | None = None,
        frame_rate: Positive | Mapping[Any, Positive] | None = None,
        clock_offsets: Mapping[Any, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.ids = ids
        self.clock = Clock(frame_rate, clock_offsets)
        super().__init__(data_root, split, pipeline, **kwargs)

    def _understand(
        self, told: Mapping[str, Mapping[Any, str | None]], source: str
    ) -> dict[str, dict[Any, Any]]:
        """Values of the records' keys, by image, of the texts that tell them.

        Args:
            told: Key -> image -> text, of all splits, so that cameras have one number in query and gallery.
            source: Where the texts stand, for messages.
        """
        if self.clock.is_set and "time" not in told:
            raise InputError(
                f"frame_rate or clock_offsets was given, and nothing in {source} is read as a time, expected a group "
                "(?P<time>...) of the pattern or a column time; set pattern or columns, or leave the options out"
            )
        names, cameras = _number_cameras(told.get("camid", {}))
        self.camera_names = names if "camid" in told else None
        cameras_named = {image: names[number] for image, number in cameras.items()}
        return {
            "camid": cameras,
            "time": self.clock.seconds(told.get("time", {}), cameras_named, source),
            **{
                key: {image: known(text) for image, text in told.get(key, {}).items()}
                for key in ("pid", "tracklet")
            },
        }


def _number_cameras(texts: Mapping[Any, str | None]) -> tuple[list[str], dict[Any, int]]:
    """The sorted names of the known cameras, and their positions in place of the texts that name one."""
    found = {key: name for key, text in texts.items() if (name := known(text)) is not None}
    names = sorted_ids(found.values())
    numbers = {name: number for number, name in enumerate(names)}
    return names, {key: numbers[name] for key, name in found.items()}
