"""Where mixed precision ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any, ParamSpec, TypeVar

__all__ = ["full_precision"]

P = ParamSpec("P")
T = TypeVar("T")


def full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function compute outside autocast, and in float32 where it is given half precision.

    For what compares: a product of two unit vectors in bfloat16 has three digits, and which cluster is the nearest then
    is another one for one sample in seven. :class:`BaseReID` leaves autocast behind its encoders; this decorator is for
    functions that others call, too.

    Args:
        function: Takes tensors, or named tuples of them.

    Returns:
        The function, with the same arguments.
    """

    @wraps(function)
    def outside(*args: P.args, **kwargs: P.kwargs) -> T:
        import torch

        wide: Any = [_widened(one) for one in args]
        named: Any = {name: _widened(one) for name, one in kwargs.items()}
        with ExitStack() as left:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    left.enter_context(torch.autocast(kind, enabled=False))
            return function(*wide, **named)

    return outside


def _widened(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_widened, value))
    return value
