"""One value held against one annotation."""

from __future__ import annotations

import math
import os
import types
import typing
from collections import abc
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

from ..errors import InputError
from .words import DICTS, LIMITS, LISTS, SEQUENCES, closest, describe, limits_of, shortened

__all__ = ["Misfit", "fit", "require_fit"]

# What a TypedDict says about a key; not in every Python there is.
_WRAPPERS = [getattr(typing, name) for name in ("Required", "NotRequired") if hasattr(typing, name)]


class Misfit(ValueError):
    """A value that its annotation does not allow.

    Args:
        where: The place inside the value, such as ``'[2].scale'``; empty for the value itself.
        value: What was found there.
        expected: What may stand there, in words.
    """

    def __init__(self, where: str, value: Any, expected: str) -> None:
        super().__init__(f"found {value!r}, expected {expected}")
        self.where, self.value, self.expected = where, value, expected

    def sentence(self, name: str, of: str) -> str:
        """One sentence for the user.

        Args:
            name: Of the argument or key that holds the value.
            of: What it belongs to, such as ``'in the config'``.

        Returns:
            What was found and expected, and what to change.
        """
        place = f"{name}{self.where}"
        return (
            f"found {place}={shortened(self.value)} {of}, expected {self.expected}: change {place}."
        )


def fit(value: Any, annotation: Any, where: str = "") -> Any:
    """Hold a value against an annotation.

    ``bool`` is no number, a whole number is a number, numbers of NumPy are numbers, NaN is none, lists and tuples stand
    for each other, a path is a text. Annotations with a class that no config can hold allow whatever could become one:
    dicts, texts and lists.

    Args:
        value: Anything.
        annotation: A type, ``Literal``, ``Union``, ``Annotated`` with limits of ``annotated_types``, ``TypedDict`` ...
        where: Place of the value, which misfits inside of it continue.

    Returns:
        The value; ``64.0`` where a whole number is expected is the whole number.

    Raises:
        Misfit: The annotation does not allow the value.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        try:
            value = fit(value, args[0], where)
        except Misfit as misfit:
            if any(isinstance(one, str) for one in args[1:]):
                raise Misfit(where, value, describe(annotation)) from None
            raise (
                misfit if misfit.where != where else Misfit(where, value, describe(annotation))
            ) from None
        if _is_plain(value) and not all(_holds(value, limit) for limit in limits_of(args[1:])):
            raise Misfit(where, value, describe(annotation))
        return value
    if origin in (Union, types.UnionType):
        return _fit_one_of(value, annotation, where)
    if origin in _WRAPPERS:
        return fit(value, args[0], where)
    if not _is_plain(value) or annotation in (Any, object) or isinstance(annotation, TypeVar):
        return value
    kind = origin or annotation
    if typing.is_typeddict(kind) and isinstance(value, Mapping):
        return _fit_keys(value, kind, where)
    if kind in DICTS and isinstance(value, Mapping):
        key_type, value_type = args or (Any, Any)
        return _rebuilt(
            value,
            {
                fit(key, key_type, where): fit(item, value_type, f"{where}.{key}")
                for key, item in value.items()
            },
        )
    if kind in SEQUENCES and isinstance(value, LISTS):
        return _fit_items(value, annotation, where)
    fitted = _fit_plain(value, kind, args)
    if fitted is _NONE:
        raise Misfit(where, value, describe(annotation))
    return fitted


def require_fit(value: Any, annotation: Any, name: str, of: str) -> Any:
    """As :func:`fit`, for what a user has written.

    Args:
        value: Anything.
        annotation: As for :func:`fit`.
        name: Of the argument or key that holds the value.
        of: What it belongs to, such as ``'in the config'``.

    Returns:
        As :func:`fit`.

    Raises:
        InputError: The annotation does not allow the value.
    """
    try:
        return fit(value, annotation)
    except Misfit as misfit:
        raise InputError(misfit.sentence(name, of)) from None


_NONE = object()


def _fit_plain(value: Any, kind: Any, args: tuple[Any, ...]) -> Any:
    """A single value held against a type that is no container; ``_NONE`` if it does not fit."""
    number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    if kind is Literal:
        if value is None and None not in args and "none" in args:
            return "none"  # which a command line gives as None
        return next(
            (c for c in args if c == value and isinstance(c, bool) == isinstance(value, bool)),
            _NONE,
        )
    if kind is None or kind is types.NoneType:
        fits = value is None
    elif kind is bool:
        fits = isinstance(value, (bool, np.bool_))
    elif kind is int:
        if number and not isinstance(value, Integral) and float(value).is_integer():
            return int(value)
        fits = number and isinstance(value, Integral)
    elif kind in (float, complex):
        fits = number and not math.isnan(value)
    elif kind is str or (isinstance(kind, type) and issubclass(kind, os.PathLike)):
        fits = isinstance(value, (str, os.PathLike))
    elif kind in (*DICTS, *SEQUENCES, bytes) or typing.is_typeddict(kind):
        fits = kind in (abc.Iterable, abc.Collection) and isinstance(value, Mapping)
    elif isinstance(kind, type) and kind.__name__ in ("Tensor", "ndarray"):
        fits = isinstance(value, LISTS)
    elif isinstance(kind, type) or kind in (type, abc.Callable):
        fits = isinstance(value, (str, os.PathLike, Mapping, *LISTS))
    else:  # forward references, and what typing may yet invent
        fits = True
    return value if fits else _NONE


def _fit_one_of(value: Any, annotation: Any, where: str) -> Any:
    fitted, misfits = _NONE, []
    for option in get_args(annotation):
        try:
            one = fit(value, option, where)
        except Misfit as misfit:
            misfits.append(misfit)
        else:
            if one is value:
                return value
            fitted = one if fitted is _NONE else fitted
    if fitted is not _NONE:
        return fitted
    # A dict or list of the right kind with one wrong entry: the entry is what the user can mend.
    inside = [misfit for misfit in misfits if misfit.where != where]
    if len(inside) == 1:
        raise inside[0]
    raise Misfit(where, value, describe(annotation))


def _fit_items(value: Any, annotation: Any, where: str) -> Any:
    args = get_args(annotation)
    kinds: Any = [args[0] if args else Any] * len(value)
    if get_origin(annotation) is tuple and args[-1:] != (Ellipsis,):
        if len(value) != len(args):
            raise Misfit(where, value, describe(annotation))
        kinds = args
    return _rebuilt(
        value,
        [fit(item, kind, f"{where}[{n}]") for n, (item, kind) in enumerate(zip(value, kinds))],
    )


def _fit_keys(value: Mapping, kind: Any, where: str) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    for key in value:
        if key not in hints:
            raise Misfit(f"{where}.{key}", value[key], f"no such key, but {closest(key, hints)}")
    for key in sorted(kind.__required_keys__):
        if key not in value:
            raise Misfit(where, dict(value), f"the key `{key}` in it")
    return _rebuilt(
        value, {key: fit(item, hints[key], f"{where}.{key}") for key, item in value.items()}
    )


def _rebuilt(value: Any, items: Any) -> Any:
    """The container itself unless an entry was converted."""
    kind: Any = type(value)
    old, new = (value.values(), items.values()) if isinstance(value, Mapping) else (value, items)
    return value if all(a is b for a, b in zip(old, new)) else kind(items)


def _is_plain(value: Any) -> bool:
    """Whether a config can hold such a value."""
    return value is None or isinstance(
        value, (bool, np.bool_, Real, str, bytes, os.PathLike, Mapping, *LISTS)
    )


def _holds(value: Any, limit: Any) -> bool:
    attribute, _, holds = LIMITS[type(limit)]
    return holds(value, getattr(limit, attribute))
