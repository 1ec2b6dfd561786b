"""Functions and constructors whose arguments are held against their annotations."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, Union

from ..errors import InputError
from .fitting import require_fit

__all__ = ["Argument", "arguments_of", "checked"]

_T = TypeVar("_T", bound=Callable[..., Any])


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
