"""The one check of vectors: where they are made, stored, read, searched, clustered or drawn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DIVERGED", "as_tensor", "check_vectors"]

DIVERGED = (
    "training has most likely diverged, or the checkpoint is damaged: lower optim_wrapper.optimizer.lr, train without "
    "--amp, or take an earlier checkpoint"
)
"""What mends vectors that a network has made."""


@overload
def check_vectors(
    vectors: Tensor,
    what: str,
    hint: str = ...,
    *,
    names: Sequence[Any] | None = ...,
    zeros: bool = ...,
) -> Tensor: ...
@overload
def check_vectors(
    vectors: Any,
    what: str,
    hint: str = ...,
    *,
    names: Sequence[Any] | None = ...,
    zeros: bool = ...,
) -> np.ndarray: ...
def check_vectors(
    vectors: Any,
    what: str,
    hint: str = DIVERGED,
    *,
    names: Sequence[Any] | None = None,
    zeros: bool = False,
) -> np.ndarray | Tensor:
    """Refuse what is no matrix of finite vectors with a direction.

    Args:
        vectors: (N, D) with N, D >= 1 of any real type, on any device; or what else somebody has given.
        what: Name of the vectors in the sentence, such as ``'features of the queries'``.
        hint: Its end: what mends them. Defaults to :data:`DIVERGED`.
        names: Of the N rows, such as paths; None names rows by their numbers.
        zeros: Whether rows of zeros are allowed, which have no direction. Defaults to False.

    Returns:
        float32 (N, D), contiguous; a tensor if one was given. The same memory if it was that already, also where it is
        read-only, as an array mapped from a file.

    Raises:
        InputError: A wrong type or shape, no rows; or rows that are NaN, infinite, beyond what squares in float32 can
            hold (1e19), or zero.
    """
    import torch

    given = isinstance(vectors, torch.Tensor)
    rows = vectors if given else as_tensor(array := _as_array(vectors, what, hint))
    if rows.ndim != 2 or not rows.numel() or rows.is_complex():
        raise InputError(
            f"found {what} of type {str(rows.dtype).removeprefix('torch.')} and shape {tuple(rows.shape)}, expected "
            f"numbers of shape (images, dimensions), at least one of each; {hint}."
        )
    rows = rows.detach().to(torch.float32).contiguous()
    # A sum of squares is NaN or infinite if an entry is, and zero for a zero row: one pass, no copy.
    squares = torch.einsum("nd,nd->n", rows, rows)
    broken = ~squares.isfinite()
    empty = torch.zeros_like(broken) if zeros else squares == 0
    wrong = broken | empty
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        name = f"row {first}" if names is None else repr(str(names[first]))
        kinds = ((broken, "with NaN, infinite or too large values"), (empty, "of zeros"))
        found = [
            f"{num} row{'s' * (num > 1)} {kind}" for of, kind in kinds if (num := int(of.sum()))
        ]
        raise InputError(
            f"found {' and '.join(found)} among the {len(rows)} {what} (the first is {name}), expected finite numbers"
            f"{'' if zeros else ' that are not all zero'}; {hint}."
        )
    return rows if given else array


def as_tensor(array: np.ndarray | Tensor) -> Tensor:
    """Share the memory of an array, also of one that is read-only, of which torch would warn.

    Args:
        array: Of a type that torch knows, contiguous; or a tensor already.

    Returns:
        A tensor, which must not be written to if the array must not.
    """
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.as_tensor(array)


def _as_array(vectors: Any, what: str, hint: str) -> np.ndarray:
    """The numbers as a contiguous float32 array."""
    try:
        array = np.asarray(vectors)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"values of type {array.dtype}")
        # PyTorch knows neither longdouble nor unsigned integers of all sizes.
        return np.ascontiguousarray(array, np.float32)
    except (TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InputError(
            f"found {what} that are no matrix ({reason}), expected numbers; {hint}."
        ) from error
