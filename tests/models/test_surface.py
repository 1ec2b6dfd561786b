"""Every method says what is its own through the same few names, and none makes a hook of the core its own."""

import importlib
import inspect
from pathlib import Path

import pytest

from mmreid_uda.engine import hooks
from mmreid_uda.models import algorithms
from mmreid_uda.models.algorithms import BaseReID, ClusterContrast
from mmreid_uda.models.algorithms.std import _Distilled
from mmreid_uda.models.algorithms.supervised import _Classification

REPOSITORY = Path(__file__).parents[2]
SURFACE = {
    "__init__",
    "build_networks",
    "loss_source",
    "loss_target",
    "cluster_features",
    "on_relabel",
    "required_hooks",
}
# What several methods share; these are the core that methods stand on.
FAMILIES = {
    BaseReID,
    algorithms.MeanTeacher,
    algorithms.Supervised,
    algorithms.ImageClassifier,
    _Classification,
    _Distilled,
}


def descendants(kind):
    """All classes below one, of this package and of projects/."""
    for path in REPOSITORY.glob("projects/*/[!t]*.py"):
        importlib.import_module(f"projects.{path.parent.name}.{path.stem}")
    found = {kind}
    while new := {child for one in found for child in one.__subclasses__()} - found:
        found |= new
    return {one for one in found if one.__module__.partition(".")[0] in ("mmreid_uda", "projects")}


def overridden(algorithm):
    """Names of a class that stand for something of a parent, beyond the surface."""
    inherited = {name for parent in algorithm.__mro__[1:-1] for name in vars(parent)}
    own = {
        name
        for name, value in vars(algorithm).items()
        if inspect.isfunction(value) or not name.startswith(("__", "_abc_"))
    }
    return sorted(own & inherited - SURFACE)


METHODS = sorted(descendants(BaseReID) - FAMILIES, key=lambda one: one.__name__)


@pytest.mark.parametrize("algorithm", METHODS)
def test_a_method_overrides_nothing_but_the_surface(algorithm):
    assert overridden(algorithm) == []


def test_the_methods_of_the_papers_are_all_looked_at():
    names = {method.__name__ for method in METHODS}
    assert names >= {"ABMT", "ClusterContrast", "FAT", "ISE", "MMT", "PTL", "STD"}
    assert names >= {"StrongBaseline", "SpCL", "MEBNet", "ExampleProject"}


def test_what_is_overridden_beside_the_surface_is_found():
    class Meddler(ClusterContrast):
        required_hooks = {}
        flip_twice = True

        def loss(self, inputs, data_samples):
            return {}

        def encode(self, *args):
            return super().encode(*args)

        def loss_target(self, out, samples):
            return {}

    assert overridden(Meddler) == ["encode", "loss"]


def test_no_hook_is_made_of_a_hook_of_the_core():
    core = [getattr(hooks, name) for name in hooks.__all__]
    assert [descendants(hook) - {hook} for hook in core] == [set()] * len(core)
