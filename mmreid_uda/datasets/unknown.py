"""What is not known of an image, and how that is written: nothing that is missing ever becomes a value.

=========================== ===========================================================================================
where                       an unknown identity or camera
=========================== ===========================================================================================
cells, names, patterns      a text of :data:`MISSING`, or an optional group of a pattern that did not match
identities of an evaluation the same, NaN and -1
records of ``load_split``   ``None``
``true_labels`` and others  -1: an identity that the data do not tell. ``labels``, which are trained on, are -1 for
                            outliers too
``camids``                  never negative: an image whose camera is unknown has a number that no other image has, and
                            ``camera_known`` says False. So every rule "of the same camera" (evaluation, samplers, rank
                            lists) meets the image itself alone
gallery of an evaluation    identity -1 is junk: it takes no part
=========================== ===========================================================================================
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np

__all__ = ["MISSING", "compared_cameras", "known"]

MISSING = frozenset(
    {"", "-", "--", "-1", "?", "nan", "-nan", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nat"}
    | {"none", "null", "nil", "(null)", "<null>", r"\n", "unknown"}
)
"""Texts, in lower case, that stand for no value, as spreadsheets, databases and data frames write it."""

# A data frame in which one number is missing writes all others of its column as 7.0.
_WHOLE_NUMBER = re.compile(r"(-?[0-9]+)\.0+")


def known(value: Any) -> Any:
    """A value, or None where it stands for a missing one.

    A text comes without surrounding blanks, in the composed form of Unicode (macOS decomposes names of files), and as
    the whole number that a data frame has written as a float: ``'7.0'`` is ``'7'``.

    Args:
        value: A cell, a group of a pattern (None where it did not match), a name, or a number of any kind.

    Returns:
        The value, or None.
    """
    if isinstance(value, str):
        value = unicodedata.normalize("NFC", value.strip())
        if number := _WHOLE_NUMBER.fullmatch(value):
            value = number[1]
        return None if value.lower() in MISSING else value
    # NaN, which data frames write for a missing cell, is the one value that differs from itself.
    return value if value == value else None


def compared_cameras(cameras: np.ndarray, files: np.ndarray) -> np.ndarray:
    """Camera numbers for a rule "of the same camera": unknown cameras are no camera of any other image.

    Args:
        cameras: int (N,), -1 = unknown. A camera that one entry of a file knows is known.
        files: int64 (N,), numbers of the files 0.., as :func:`.files.file_numbers` gives them.

    Returns:
        int64 (N,) >= 0.
    """
    of_file = np.full(int(files.max(initial=-1)) + 1, -1, dtype=np.int64)
    np.maximum.at(of_file, files, cameras)
    own = of_file.max(initial=-1) + 1 + np.arange(len(of_file))
    return np.where(of_file < 0, own, of_file)[files]
