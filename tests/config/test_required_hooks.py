"""Hooks that a method requires: no config can lack one, and configs override single keys."""

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

from mmreid_uda.config import load_config
from mmreid_uda.config.required_hooks import complete_hooks, required_hooks
from mmreid_uda.engine import build_runner
from mmreid_uda.models.algorithms import (
    ISE,
    MMT,
    PTL,
    BaseReID,
    ClusterContrast,
    ImageClassifier,
    STDClassifier,
)
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

SMALL = "configs/ise/ise_mbv2_synthb.py"


class Parent(BaseReID):
    required_hooks = dict(cluster=dict(type="ClusterHook", interval=2), note=dict(type="Note"))


class Child(Parent):
    required_hooks = dict(cluster=dict(policy="raise"), note=None, more=dict(type="More"))


def test_children_merge_with_their_parents():
    assert required_hooks(BaseReID) == required_hooks(Config) == {}
    assert required_hooks(Child) == dict(
        cluster=dict(type="ClusterHook", interval=2, policy="raise"), more=dict(type="More")
    )
    assert required_hooks(Parent)["cluster"] == dict(type="ClusterHook", interval=2)


@pytest.mark.parametrize(
    "algorithm, names",
    [
        (ClusterContrast, ["cluster"]),
        (ISE, ["cluster", "progressive"]),
        (MMT, ["cluster", "optimizer_reset", "ema", "diversity", "every_teacher"]),
        (PTL, ["source_classes", "latent_state"]),
        (ImageClassifier, []),
        (STDClassifier, []),
    ],
)
def test_what_the_methods_require(algorithm, names):
    assert list(required_hooks(algorithm)) == names


def test_a_config_overrides_keys_and_the_order_is_that_of_the_method():
    ready = Hook()
    own = dict(logger=dict(type="L"), more=ready, cluster=dict(interval=5), note=None)
    for _ in range(2):
        own = complete_hooks(own, Child)
        assert list(own) == ["cluster", "more", "logger", "note"]
        assert own["cluster"] == dict(type="ClusterHook", interval=5, policy="raise")
        assert own["more"] is ready and own["note"] is None
    replaced = complete_hooks(dict(cluster=dict(_delete_=True, type="Mine")), Child)
    assert replaced["cluster"] == dict(type="Mine") and replaced["more"] == dict(type="More")


def test_what_only_reports_may_be_switched_off_and_the_rest_not():
    assert complete_hooks(dict(diversity=None), MMT)["diversity"] is None
    assert "optional" not in complete_hooks({}, MMT)["diversity"]
    with pytest.raises(InputError, match=r"default_hooks\.ema=None, but MMT cannot .* EMAHook"):
        complete_hooks(dict(ema=None), MMT)
    with pytest.raises(InputError, match="ISE cannot train without its ProgressiveLambdaHook"):
        load_config(SMALL, {"default_hooks.progressive": None})


@MODELS.register_module(force=True)
class NeedsNote(ClusterContrast):
    required_hooks = dict(note=dict(type="ProgressiveLambdaHook", attribute="flip", base=3.0))


def test_loader_and_runner_guarantee_them(tiny):
    extra = "model = dict(_delete_=True, type='NeedsNote', head=dict(type='ClusterMemoryHead'))\n"
    extra += "default_hooks['note'] = dict(base=4.0)\ndefault_hooks['report'] = None\n"
    extra += "default_hooks['checkpoint'] = default_hooks['progressive'] = None\n"
    cfg = load_config(tiny(extra=extra))
    assert cfg.default_hooks.note.attribute == "flip" and cfg.default_hooks.note.base == 4.0
    del cfg.default_hooks["note"]  # as by a Runner that is built without the loader
    names = [type(hook).__name__ for hook in build_runner(cfg).hooks]
    assert names.count("ProgressiveLambdaHook") == 1 and "ClusterHook" in names
    assert "ReportHook" not in names and "CheckpointHook" not in names
