"""What annotations allow, in words, and the limits that they may state."""

from __future__ import annotations

import difflib
import os
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import (
    Ge,
    GroupedMetadata,
    Gt,
    Le,
    Lt,
    MaxLen,
    MinLen,
    MultipleOf,
    Predicate,
)

__all__ = ["DICTS", "LIMITS", "LISTS", "SEQUENCES", "closest", "describe", "limits_of", "shortened"]

LISTS = (list, tuple, set, frozenset)
DICTS = (dict, abc.Mapping, abc.MutableMapping)
SEQUENCES = (*LISTS, abc.Sequence, abc.Iterable, abc.Collection, abc.Set, abc.MutableSequence)
LIMITS: dict[type, tuple[str, str, Callable[[Any, Any], bool]]] = {
    Gt: ("gt", "above {}", lambda value, limit: value > limit),
    Ge: ("ge", "of at least {}", lambda value, limit: value >= limit),
    Lt: ("lt", "below {}", lambda value, limit: value < limit),
    Le: ("le", "of at most {}", lambda value, limit: value <= limit),
    MultipleOf: ("multiple_of", "that is a multiple of {}", lambda value, step: value % step == 0),
    MinLen: ("min_length", "with at least {} entries", lambda value, num: len(value) >= num),
    # What it asks for is said by a text beside it.
    Predicate: ("func", "of that kind", lambda value, holds: holds(value)),
    MaxLen: ("max_length", "with at most {} entries", lambda value, num: len(value) <= num),
}
"""Kind of limit -> its attribute, what it asks for in words, and whether a value keeps it."""


def limits_of(metadata: Iterable[Any]) -> Iterator[Any]:
    """The limits among what stands in ``Annotated`` behind the type.

    Args:
        metadata: What stands there.

    Yields:
        Those of :data:`LIMITS`, one by one.
    """
    for one in metadata:
        if isinstance(one, GroupedMetadata):
            yield from limits_of(one)
        elif type(one) in LIMITS:
            yield one


def shortened(value: Any) -> str:
    """A value as Python writes it, at most about a line long.

    Args:
        value: Anything.

    Returns:
        Its ``repr``, without its middle where it is longer than 120 letters.
    """
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}...{text[-10:]}"


def closest(key: Any, known: Iterable[str]) -> str:
    """The name that a misspelt one most likely stands for, or all there are.

    Args:
        key: The misspelt name.
        known: The names there are.

    Returns:
        Words for the end of a sentence, names in backquotes.
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(key), names, n=1)
    if not names:
        return "no key"
    return f"`{close[0]}`" if close else "one of " + ", ".join(f"`{name}`" for name in names)


def describe(annotation: Any) -> str:
    """What an annotation allows, in words.

    Args:
        annotation: As for :func:`fit`.

    Returns:
        Words, such as ``True or False``.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for one in args[1:]:
            if isinstance(one, str):
                return one
        limits = {type(one): getattr(one, LIMITS[type(one)][0]) for one in limits_of(args[1:])}
        words = [LIMITS[kind][1].format(limit) for kind, limit in limits.items()]
        if set(limits) == {Ge, Le}:
            words = [f"from {limits[Ge]} to {limits[Le]}"]
        return " ".join([describe(args[0]), " and ".join(words)]).rstrip()
    if origin in (Union, types.UnionType):
        return _either([describe(option) for option in args])
    if origin is Literal:
        return _either([repr(choice) for choice in args])
    kind = origin or annotation
    names: dict[Any, str] = {
        bool: "True or False",
        int: "a whole number",
        float: "a number",
        str: "a text",
        types.NoneType: "None",
        None: "None",
    }
    if kind in names:
        return names[kind]
    if kind is tuple and args and args[-1] is not Ellipsis:
        return f"{len(args)} values ({', '.join(map(describe, args))})"
    if kind in SEQUENCES:
        if not args or args[0] is Any:
            return "a list"
        entry = describe(args[0])
        several = {
            "a whole number": "whole numbers",
            "a number": "numbers",
            "a text": "texts",
            "a dict": "dicts",
        }
        return (
            f"a list of {several[entry]}"
            if entry in several
            else f"a list with {entry} in each place"
        )
    if kind in DICTS or typing.is_typeddict(kind):
        keys = typing.get_type_hints(kind) if typing.is_typeddict(kind) else {}
        return (
            f"dict({', '.join(f'{key}=...' for key in keys)})"
            if len(keys) < 9 and keys
            else "a dict"
        )
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return "a path"
    return f"a {getattr(kind, '__name__', kind)}"


def _either(options: list[str]) -> str:
    options = list(dict.fromkeys(options))
    return " or ".join([", ".join(options[:-1]), options[-1]]) if len(options) > 1 else options[0]
