"""Layers that are told something about every batch, and how they are found."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from torch import nn

__all__ = ["InformedLayer", "informed_layers"]


class InformedLayer(nn.Module):
    """A layer that must know of a batch what its tensor does not say, such as domains or cameras.

    Attributes:
        made (bool): Whether this process has made a layer of this class, in whatever way: most networks have none, and
            then no tree is searched, twice in every iteration, for what cannot be there.
    """

    made: ClassVar[bool] = False

    def __new__(cls, *args: Any, **kwargs: Any) -> InformedLayer:
        """Note it: copies and what is unpickled pass here, too."""
        for base in cls.__mro__[: cls.__mro__.index(InformedLayer)]:
            base.made = True  # type: ignore[attr-defined]
        return super().__new__(cls)


Layer = TypeVar("Layer", bound=InformedLayer)


def informed_layers(module: nn.Module, kind: type[Layer]) -> list[Layer]:
    """All layers of a class in a tree of modules.

    Args:
        module: Any tree of modules.
        kind: The class.

    Returns:
        In the order of the tree.
    """
    return [layer for layer in module.modules() if isinstance(layer, kind)] if kind.made else []
