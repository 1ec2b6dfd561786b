"""Values against annotations: what fits, what becomes a whole number, and the sentence about what does not fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest
import torch
from annotated_types import Ge, Gt, Interval, Len, Lt, Predicate
from mmengine.config import ConfigDict

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, Fraction, Misfit, Natural, arguments_of, checked, fit

EPS = Annotated[float, Gt(0), Lt(1)] | Literal["rho"]


class Span(TypedDict, total=False):
    start: int
    stop: int | None


@pytest.mark.parametrize(
    "value, annotation",
    [
        (1, int),
        (np.int64(3), Count),
        (1, float),
        (np.float32(0.5), Fraction),
        (float("inf"), float),
        (np.bool_(True), bool),
        (None, int | None),
        ("a", str | Sequence[str]),
        (Path("a"), str),
        ("a", Path),
        (("a", "b"), list[str]),
        ([1, 2], tuple[int, int]),
        ((1, 2, 3), tuple[int, ...]),
        ({1, 2}, Sequence[int]),
        ({"a": 1}, dict[str, int]),
        (ConfigDict(a=dict(b=1)), Mapping[str, dict[str, Natural]]),
        ({"stop": None}, Span),
        ("rho", EPS),
        (0.5, EPS),
        ([1], Annotated[list[int], Len(1, 2)]),
        (5, Any),
        # What no config holds is not judged, and a class may be given by its dict or name.
        (torch.ones(2), int),
        (torch.nn.ReLU(), dict[str, Any]),
        (dict(type="ReLU"), torch.nn.Module),
        ("ReLU", type[torch.nn.Module]),
        (len, int),
    ],
)
def test_a_value_that_fits_is_given_back(value, annotation):
    assert fit(value, annotation) is value


@pytest.mark.parametrize(
    "value, annotation, sentence",
    [
        (True, int, "found key=True for X, expected a whole number: change key."),
        (1.5, int, "found key=1.5 for X, expected a whole number: change key."),
        ("1", float, "found key='1' for X, expected a number: change key."),
        (float("nan"), float, "found key=nan for X, expected a number: change key."),
        (1, bool, "found key=1 for X, expected True or False: change key."),
        (1, Literal[True], "found key=1 for X, expected True: change key."),
        (None, str, "found key=None for X, expected a text: change key."),
        (0, Count, "found key=0 for X, expected a whole number of at least 1: change key."),
        (2, EPS, "found key=2 for X, expected a number above 0 and below 1 or 'rho': change key."),
        (
            1.0,
            Annotated[float, Interval(ge=0, lt=1)],
            "found key=1.0 for X, expected a number of at least 0 and below 1: change key.",
        ),
        (
            "ab",
            Sequence[str],
            "found key='ab' for X, expected a list of texts: change key.",
        ),
        ([1, "x"], list[int], "found key[1]='x' for X, expected a whole number: change key[1]."),
        (
            [1],
            tuple[int, int],
            "found key=[1] for X, expected 2 values (a whole number, a whole number): change key.",
        ),
        (
            {"a": 0},
            dict[str, Count] | int,
            "found key.a=0 for X, expected a whole number of at least 1: change key.a.",
        ),
        (
            {"stpo": 1},
            Span | None,
            "found key.stpo=1 for X, expected no such key, but `stop`: change key.stpo.",
        ),
        ("x", Span, "found key='x' for X, expected dict(start=..., stop=...): change key."),
        (5, torch.nn.Module | None, "found key=5 for X, expected a Module or None: change key."),
        (
            "x",
            float | torch.Tensor,
            "found key='x' for X, expected a number or a Tensor: change key.",
        ),
        (5, Callable[[int], int], "found key=5 for X, expected a Callable: change key."),
        (
            (0, 1),
            Annotated[tuple[Count, Count], "height and width"],
            "found key=(0, 1) for X, expected height and width: change key.",
        ),
        (
            4,
            Annotated[int, Ge(3), Predicate(lambda number: number % 2 == 1), "an odd number"],
            "found key=4 for X, expected an odd number: change key.",
        ),
        (
            [],
            Annotated[list[int], Len(1)],
            "found key=[] for X, expected a list of whole numbers with at least 1 entries: "
            "change key.",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_a_sentence(value, annotation, sentence):
    with pytest.raises(Misfit) as caught:
        fit(value, annotation)
    assert caught.value.sentence("key", "for X") == sentence


def test_a_whole_number_with_a_point_becomes_one():
    assert repr(fit(64.0, Count)) == "64" and repr(fit(64.0, int | float)) == "64.0"
    assert repr(fit((64.0, 3), tuple[int, int])) == "(64, 3)"
    assert fit(None, Literal["none", "mpi"]) == "none"
    assert repr(fit({"a": [1.0]}, dict[str, list[int]])) == "{'a': [1]}"


class Base:
    def __init__(self, depth: Count = 1, size: int = None, later: "NotThere" = 5):  # noqa: F821, RUF013
        self.depth, self.size, self.later = depth, size, later


@MODELS.register_module()
class Child(Base):
    def __init__(self, share: Fraction, *, mode: Literal["a", "b"] = "a", **kwargs: Any):
        super().__init__(**kwargs)
        self.share, self.mode = share, mode


@MODELS.register_module()
class Heir(Child):
    pass


@pytest.fixture(scope="module", autouse=True)
def forget():
    yield
    for name in ("Child", "Heir"):
        MODELS.module_dict.pop(name)


@pytest.mark.parametrize("cls", [Child, Heir])
def test_a_registered_class_checks_what_it_is_built_with(cls):
    model = cls(0.5, depth=2.0, later="anything")
    assert (model.share, repr(model.depth), model.size, model.later) == (0.5, "2", None, "anything")
    with pytest.raises(
        InputError, match=rf"found share=2 for {cls.__name__}, expected a number from 0 to 1"
    ):
        cls(2)
    with pytest.raises(
        InputError, match=r"found mode='c' for .*, expected 'a' or 'b': change mode"
    ):
        cls(0.5, mode="c")
    with pytest.raises(InputError, match=r"found depth=0 for .*at least 1"):
        MODELS.build(dict(type=cls.__name__, share=0, depth=0))
    with pytest.raises(
        InputError, match=r"takes `share`, .*: found missing a required argument: 'share'"
    ):
        cls()


def test_arguments_are_found_behind_kwargs():
    arguments, takes_more = arguments_of(Heir)
    assert set(arguments) == {"share", "mode", "depth", "size", "later"} and not takes_more
    assert [name for name, one in arguments.items() if one.required] == ["share"]


def test_a_class_whose_further_arguments_are_another_library_s_takes_any():
    class Wrapper(Heir):
        takes_more = True

        def __init__(self, name: str, **kwargs):
            super().__init__(0.5)

    class Finer(Wrapper):
        def __init__(self, level: int = 0, **kwargs):
            super().__init__("", **kwargs)

    assert arguments_of(Wrapper)[0].keys() == {"name"} and arguments_of(Wrapper)[1]
    assert arguments_of(Finer)[0].keys() == {"name", "level"} and arguments_of(Finer)[1]
    for kind in ("TimmBackbone", "ReIDViT"):
        arguments, takes_more = arguments_of(MODELS.get(kind))
        assert "name" in arguments and takes_more


def test_a_function_checks_its_arguments():
    @checked
    def half(number: Count, *rest: int, **names: int) -> float:
        return number / 2 + len(rest) + len(names)

    assert half(4.0, "x", a="y") == 4.0
    with pytest.raises(InputError, match="found number=0 for half"):
        half(0)


def test_a_generator_function_complains_when_it_is_called():
    @checked
    def several(number: Count) -> Iterator[int]:
        yield from range(number)

    assert list(several(3)) == [0, 1, 2]
    with pytest.raises(InputError, match="found number=0 for several"):
        several(0)
