"""Times of images in seconds: from frame numbers, from texts, and from cameras whose clocks differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from mmreid_uda.utils import InputError

from .files import shown
from .unknown import known

__all__ = ["SEQUENCE_SECONDS", "Clock", "frame_time", "lone_value", "read_time"]

SEQUENCE_SECONDS = 86400.0
"""Recordings whose clocks have nothing to do with each other are a day apart: no rule takes them for neighbors."""


def frame_time(frame: int, frame_rate: float, sequence: int = 0) -> float:
    """Time of a frame of one of several recordings, each of which counts its frames anew.

    Args:
        frame: Number of the frame.
        frame_rate: Frames per second.
        sequence: Number of the recording. Defaults to 0.

    Returns:
        Seconds; frames of different recordings, shorter than :data:`SEQUENCE_SECONDS`, never overlap.
    """
    return sequence * SEQUENCE_SECONDS + frame / frame_rate


class Clock:
    """Makes seconds, on one clock for all cameras, of what file names or tables say.

    Args:
        frame_rate: Frames per second where frames are counted, of all cameras or by name of camera. Defaults to None:
            numbers are seconds, and other texts dates such as ``2026-05-01 12:00:07``.
        offsets: Seconds that are added to the times of a camera, by its name. Defaults to None: all clocks agree.

    Attributes:
        is_set: Whether rates or offsets were given.
    """

    def __init__(
        self,
        frame_rate: float | Mapping[Any, float] | None = None,
        offsets: Mapping[Any, float] | None = None,
    ) -> None:
        self.of_all = frame_rate if isinstance(frame_rate, (int, float)) else None
        self.rates = _by_name(frame_rate) if isinstance(frame_rate, Mapping) else None
        self.offsets = _by_name(offsets or {})
        self.is_set = bool(frame_rate or offsets)

    def seconds(
        self, texts: Mapping[Any, str | None], cameras: Mapping[Any, str], source: str
    ) -> dict[Any, float]:
        """Read times.

        Args:
            texts: By image; those that stand for no value are left out.
            cameras: Names of the known cameras, by image.
            source: Where the texts stand, for messages.

        Returns:
            Seconds by image. Of an image of unknown camera nothing is known where cameras have their own rates.

        Raises:
            InputError: A text is no time, or rates or offsets name other cameras than there are.
        """
        self._check_names(set(cameras.values()), source)
        found = {}
        for key, text in texts.items():
            value = known(text)
            if value is None:
                continue
            camera = cameras.get(key)
            if self.rates is not None and camera is None:
                continue
            rate = self.of_all if self.rates is None else self.rates[camera]
            found[key] = read_time(value, rate, source) + self.offsets.get(camera, 0.0)
        return found

    def _check_names(self, cameras: set[str], source: str) -> None:
        for key, given in (("frame_rate", self.rates), ("clock_offsets", self.offsets)):
            wrong = sorted(set(given or ()) - cameras)
            if given is self.rates and given is not None:
                wrong += sorted(cameras - set(given))
            if wrong:
                raise InputError(
                    f"{key} names {', '.join(map(shown, given or ())) or 'no camera'}, and {source} the cameras "
                    f"{', '.join(map(shown, sorted(cameras))) or '(none)'}; {shown(wrong[0])} is not in both: set {key}"
                )


def _by_name(values: Mapping[Any, float]) -> dict[Any, float]:
    """Values by names as :func:`known` writes them: a config may say 1 where a file name says '1'."""
    return {known(str(name)): float(value) for name, value in values.items()}


def read_time(text: str, rate: float | None, source: str) -> float:
    """Read one time.

    Args:
        text: Number of a frame where there is a rate; else seconds, or a date, without time zone in UTC.
        rate: Frames per second, or None.
        source: Where the text stands, for messages.

    Returns:
        Seconds; of a date since 1970.

    Raises:
        InputError: It is no time.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number if rate is None else number / rate
    if rate is None:
        try:
            date = datetime.fromisoformat(text)
            return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
        except (ValueError, OverflowError):
            pass
    raise InputError(
        f"{source} has the time {shown(text)}, expected "
        f"{'a number of seconds or a date such as 2026-05-01 12:00:07' if rate is None else 'a number of a frame'}; "
        "mend the pattern, the column or the file"
    )


def lone_value(times: Iterable[float | None]) -> bool:
    """Tell whether several images share one time, which is a filler in names of a foreign layout.

    Args:
        times: Seconds; None = unknown.

    Returns:
        True for at least two times that are all equal.
    """
    values = [time for time in times if time is not None]
    return len(values) > 1 and len(set(values)) == 1
