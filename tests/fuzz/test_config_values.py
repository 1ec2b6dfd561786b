"""Whatever stands in a config or among the options of a dataset: it is taken, or refused by one sentence."""

import contextlib
import copy
import functools

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mmreid_uda.cli import parse_options
from mmreid_uda.cli.options import parse_value
from mmreid_uda.config import finish_config, read_config
from mmreid_uda.registry import HOOKS, METRICS, MODELS, TRANSFORMS
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.slow

CONFIGS = (
    "configs/cluster_contrast/cluster-contrast_mbv2_synthb.py",
    "configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py",
    "fat-distill_mbv2_synthb",
    "std_mbv2_synthb",
)
MANY = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

# Values of every kind, and those that a hand has typed before.
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.integers(),
    st.floats(),
    st.sampled_from([0.0, 0.5, 1.0, 64.0, 1e-4, -1.0]),
    st.text(max_size=8),
    st.sampled_from(
        ["auto", "none", "x", "64", "Resize", "synthb", "source", "ClusterContrast", "", "a,b", "("]
    ),
    st.binary(max_size=4),
)
keys = st.one_of(
    st.sampled_from(
        ["type", "name", "data_root", "start", "stop", "path", "pid", "train", "x", ""]
    ),
    st.text(max_size=4),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=5,
)


@functools.cache
def read(path):
    return read_config(path)


def places(node, where=()):
    """Every place of a config, as keys and positions from the top."""
    inside = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in inside:
        yield (*where, key)
        yield from places(value, (*where, key))


@functools.cache
def places_of(path):
    return list(places(read(path)._cfg_dict.to_dict()))


def put(node, place, value):
    """Put a value into a nested config; ``...`` removes the key."""
    *above, last = place
    for key in above:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value


@st.composite
def mistaken(draw):
    """A config with values, new keys or gaps somewhere, and where they are."""
    path = draw(st.sampled_from(CONFIGS))
    cfg = copy.deepcopy(read(path))
    changed = []
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(places_of(path)))
        if draw(st.integers(0, 9)) == 0:
            place = (*place[:-1], draw(keys)) if isinstance(place[-1], str) else place
        value = draw(st.one_of(values, values, values, st.just(...)))
        try:
            put(cfg, place, copy.deepcopy(value))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            continue  # the first change has taken away the place of the second, or ConfigDict refuses the key
        changed.append((place, value))
    return cfg, path, changed


@settings(MANY, max_examples=700)
@given(mistaken())
def test_a_config_is_taken_or_refused(case):
    cfg, _, changed = case
    try:
        finish_config(cfg)
    except InputError as error:
        assert "\n" not in str(error)
        return
    # What is taken can be built, as far as that is cheap.
    evaluator = cfg.get("val_evaluator")  # gone where there is nothing to evaluate on
    evaluators = evaluator if isinstance(evaluator, list) else [evaluator]
    parts = [(HOOKS, hook) for hook in cfg.default_hooks.values() if hook is not None]
    parts += [(TRANSFORMS, step) for step in cfg.get("train_pipeline", ())]
    parts += [(METRICS, one) for one in evaluators if one]
    if ("model", "head") in {place[:2] for place, _ in changed} and cfg.model.get("head"):
        parts.append((MODELS, cfg.model.head))
    for registry, part in parts:
        with contextlib.suppress(InputError):
            registry.build(part)


@settings(MANY, max_examples=200)
@given(st.text(max_size=30) | st.text("[](){},=:'\"ab1. -N", max_size=14))
def test_any_option_is_read(text):
    assert list(parse_options([f"a.b={text}"])) == ["a.b"]
    assert parse_value(repr(text)) == text


literals = st.recursive(
    st.integers() | st.booleans() | st.none() | st.text(max_size=5),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(MANY, max_examples=100)
@given(literals)
def test_a_value_that_python_writes_is_read_back(value):
    read_back = parse_value(repr(value))
    assert read_back == value and type(read_back) is type(value)
