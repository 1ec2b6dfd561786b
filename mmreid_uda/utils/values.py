"""Values held against annotations: recipe keys, the keys of ``dict(type=...)``, arguments of constructors.

What an argument may be is written once, where it is declared; ranges and choices are part of the annotation::

    def __init__(self, eps: Annotated[float, Gt(0), Lt(1)] | Literal["rho"] = 0.6, k1: Count = 30) -> None: ...

:func:`fit` holds one value against one annotation. :func:`checked` makes a function or class do so with what it is
called with; classes that are registered in a registry of this package are checked without being asked
(:mod:`mmreid_uda.registry`), and :func:`mmreid_uda.config.load_config` does it for a whole config before anything is
built. Only values that a config can hold are judged: a tensor, a module or a function passes everywhere.

A text inside ``Annotated`` says what is expected where types and limits say it badly. The words for ranges are those
of the package ``annotated_types``, which pydantic reads too.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import os
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Integral, Real
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import numpy as np
from annotated_types import (
    Ge,
    GroupedMetadata,
    Gt,
    Le,
    Len,
    Lt,
    MaxLen,
    MinLen,
    MultipleOf,
    Predicate,
)

from .errors import InputError

__all__ = [
    "RGB",
    "Argument",
    "Count",
    "Fraction",
    "FractionBelowOne",
    "ImageSize",
    "Misfit",
    "Natural",
    "NonNegative",
    "OpenFraction",
    "Positive",
    "PositiveFraction",
    "PositiveRGB",
    "arguments_of",
    "checked",
    "closest",
    "describe",
    "fit",
    "require_fit",
    "shortened",
]

Count = Annotated[int, Ge(1)]
"""A whole number of at least 1."""
Natural = Annotated[int, Ge(0)]
"""A whole number of at least 0."""
Positive = Annotated[float, Gt(0)]
"""A number above 0."""
NonNegative = Annotated[float, Ge(0)]
"""A number of at least 0."""
Fraction = Annotated[float, Ge(0), Le(1)]
"""A share, 0..1."""
OpenFraction = Annotated[float, Gt(0), Lt(1)]
"""A share strictly between 0 and 1."""
PositiveFraction = Annotated[float, Gt(0), Le(1)]
"""A share above 0, up to 1."""
FractionBelowOne = Annotated[float, Ge(0), Lt(1)]
"""A share from 0 to below 1."""
ImageSize = Annotated[abc.Sequence[Count], Len(2, 2), "2 numbers, height and width in pixels"]
"""Height and width."""
RGB = Annotated[abc.Sequence[float], Len(3, 3), "3 numbers, of R, G and B"]
"""A value for each colour."""
PositiveRGB = Annotated[abc.Sequence[Positive], Len(3, 3), "3 numbers above 0, of R, G and B"]
"""What each colour is divided by."""

_T = TypeVar("_T", bound=Callable[..., Any])
_LISTS = (list, tuple, set, frozenset)
_DICTS = (dict, abc.Mapping, abc.MutableMapping)
_SEQUENCES = (*_LISTS, abc.Sequence, abc.Iterable, abc.Collection, abc.Set, abc.MutableSequence)
# What a TypedDict says about a key; not in every Python there is.
_WRAPPERS = [getattr(typing, name) for name in ("Required", "NotRequired") if hasattr(typing, name)]
_LIMITS: dict[type, tuple[str, str, Callable[[Any, Any], bool]]] = {
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


def shortened(value: Any) -> str:
    """A value as Python writes it, at most about a line long.

    Args:
        value: Anything.

    Returns:
        Its ``repr``, without its middle where it is longer than 120 letters.
    """
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}...{text[-10:]}"


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
        if _is_plain(value) and not all(_holds(value, limit) for limit in _limits(args[1:])):
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
    if kind in _DICTS and isinstance(value, Mapping):
        key_type, value_type = args or (Any, Any)
        return _rebuilt(
            value,
            {
                fit(key, key_type, where): fit(item, value_type, f"{where}.{key}")
                for key, item in value.items()
            },
        )
    if kind in _SEQUENCES and isinstance(value, _LISTS):
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
    elif kind in (*_DICTS, *_SEQUENCES, bytes) or typing.is_typeddict(kind):
        fits = kind in (abc.Iterable, abc.Collection) and isinstance(value, Mapping)
    elif isinstance(kind, type) and kind.__name__ in ("Tensor", "ndarray"):
        fits = isinstance(value, _LISTS)
    elif isinstance(kind, type) or kind in (type, abc.Callable):
        fits = isinstance(value, (str, os.PathLike, Mapping, *_LISTS))
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
        value, (bool, np.bool_, Real, str, bytes, os.PathLike, Mapping, *_LISTS)
    )


def _limits(metadata: Any) -> Iterator[Any]:
    for one in metadata:
        if isinstance(one, GroupedMetadata):
            yield from _limits(one)
        elif type(one) in _LIMITS:
            yield one


def _holds(value: Any, limit: Any) -> bool:
    attribute, _, holds = _LIMITS[type(limit)]
    return holds(value, getattr(limit, attribute))


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
        limits = {type(one): getattr(one, _LIMITS[type(one)][0]) for one in _limits(args[1:])}
        words = [_LIMITS[kind][1].format(limit) for kind, limit in limits.items()]
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
    if kind in _SEQUENCES:
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
    if kind in _DICTS or typing.is_typeddict(kind):
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


class Argument(NamedTuple):
    """An argument of a function or constructor: what it may be, and whether it has a default."""

    annotation: Any
    required: bool


@functools.cache
def arguments_of(target: Callable[..., Any]) -> tuple[dict[str, Argument], bool]:
    """Arguments that a function or class takes by name, following ``**kwargs`` to the base classes.

    A class that hands them to something else, such as a model of another library, says ``takes_more = True``.

    Args:
        target: A function or class.

    Returns:
        Name -> argument, and whether anything else is taken as well.
    """
    if not inspect.isclass(target):
        return _own_arguments(target)
    accepted: dict[str, Argument] = {}
    goes_on = False
    for base in target.__mro__:
        if base is object:
            break
        if "__init__" not in vars(base):
            continue
        own, goes_on = _own_arguments(vars(base)["__init__"])
        own.pop(next(iter(own), ""), None)  # self
        accepted.update((key, one) for key, one in own.items() if key not in accepted)
        if not goes_on or vars(base).get("takes_more"):
            return accepted, goes_on
    return accepted, goes_on


def _own_arguments(function: Callable[..., Any]) -> tuple[dict[str, Argument], bool]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        return {}, True
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    named = {
        one.name: Argument(_evaluated(one, scope), one.default is one.empty)
        for one in parameters
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    }
    return named, any(one.kind is one.VAR_KEYWORD for one in parameters)


def _evaluated(parameter: inspect.Parameter, scope: dict[str, Any]) -> Any:
    """The annotation of a parameter; ``Any`` where there is none or it cannot be known while the program runs."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return Any
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, dict(scope))
        except Exception:  # names that are imported for type checkers only
            return Any
    # Many a library writes `size: int = None`.
    return annotation if parameter.default is not None else Union[annotation, None]  # noqa: UP007


def checked(target: _T) -> _T:
    """Let a function or class hold the arguments it is called with against their annotations.

    Args:
        target: A function, or a class, whose constructor is meant; it is changed in place.

    Returns:
        The checking function, or the class.

    Raises:
        InputError: From the function: naming the argument, what was found and what was expected.
    """
    if inspect.isclass(target):
        cls: Any = target
        if cls.__init__ is not object.__init__ and not hasattr(cls.__init__, "checks_values"):
            cls.__init__ = _checking(cls.__init__, cls)
        return target
    return typing.cast(_T, _checking(target, None))


def _checking(function: Callable[..., Any], cls: type | None) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        name = function.__name__ if cls is None else type(args[0]).__name__
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            names = ", ".join(f"`{key}`" for key in arguments_of(cls or function)[0])
            raise InputError(f"{name} takes {names or 'no argument'}: found {error}.") from None
        known = arguments_of(cls or function)[0]

        def fitted(key: str, value: Any) -> Any:
            return require_fit(value, known[key][0], key, f"for {name}") if key in known else value

        for key, value in given.arguments.items():
            several = signature.parameters[key].kind is inspect.Parameter.VAR_KEYWORD
            given.arguments[key] = (
                {one: fitted(one, value[one]) for one in value} if several else fitted(key, value)
            )
        return function(*given.args, **given.kwargs)

    call.checks_values = True  # type: ignore[attr-defined]
    return call
