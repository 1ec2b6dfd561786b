"""FAT in real Runners: a teacher in rounds on noisy labels, over a stop; its student on one rank and on two."""

import json

import numpy as np
import pytest
import torch
from test_ranks import losses
from test_resume import assert_same_state, load

from mmreid_uda.apis import build_runner, load_config
from mmreid_uda.structures import SoftLabels

pytestmark = pytest.mark.slow

# A network that has seen twelve images of a person is not sure of much: half a chance counts as confident.
TEACHER = """
default_hooks['cluster'] = dict(
    num_workers=0,
    interval=2,
    soft_labels=True,
    clusterer=dict(
        _delete_=True, type='ConfidentLabels', threshold=0.5, min_per_class=2, first_epoch=2
    ),
)
default_hooks['optimizer_reset'] = dict(type='OptimizerResetHook', interval=2)
target['noise'] = dict(wrong_id=0.2, duplicate=0.1, seed=1)
param_scheduler = None
iters_per_epoch = 2
train_cfg = dict(max_epochs=4, val_interval=10)
default_hooks['report'] = None
default_hooks['checkpoint'] = dict(max_keep_ckpts=-1, save_best=None)
"""
STOP = """
custom_imports = dict(imports=['tests.e2e.stop_hook'])
custom_hooks = [dict(type='StopAfterEpoch', epoch=3)]
"""
BASE = "configs/fat/fat_mbv2_synthb.py"


def train(config, work_dir, resume=False):
    cfg = load_config(config, dict(work_dir=str(work_dir), resume=resume))
    build_runner(cfg).train()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Where the teacher's run lies; the first test makes it, the second learns from it."""
    return tmp_path_factory.mktemp("teacher") / "whole"


def test_a_stopped_teacher_goes_on_as_if_it_had_not_been(tiny, tmp_path, teacher):
    config, halves = tiny(BASE, extra=TEACHER), tmp_path / "halves"
    train(config, teacher)
    # In the middle of a round: its labels come from the checkpoint.
    with pytest.raises(RuntimeError, match="stopped after epoch 3"):
        train(tiny(BASE, extra=TEACHER + STOP, name="stopped"), halves)
    train(config, halves, resume=True)
    first, second = load(teacher / "epoch_4.pth"), load(halves / "epoch_4.pth")
    for part in ("state_dict", "optimizer", "pseudo_labels"):
        assert_same_state(first[part], second[part], part)
    assert len(first["state_dict"]["head.centroids.plain"]) == 12
    one, other = (SoftLabels.load(run) for run in (teacher, halves))
    assert_same_state(vars(one), vars(other))

    all_labels, sure = (
        np.load(teacher / "pseudo_labels" / f"epoch_{epoch:03d}.npz")["labels"] for epoch in (1, 3)
    )
    assert (all_labels >= 0).all() and (sure < 0).any()
    assert set(sure[sure >= 0]) == set(range(12)), "classes keep their numbers"
    assert (sure[sure >= 0] == all_labels[sure >= 0]).all()

    noise = np.load(teacher / "label_noise.npz")
    assert (noise["labels"] == all_labels).all()
    wrong = noise["noise"] != ""
    assert ((noise["labels"] != noise["clean_labels"]) == wrong).all() and wrong.any()
    report = json.loads((teacher / "teacher.json").read_text())
    dropped = ~one.confident.numpy()
    assert report["confident"] == pytest.approx(100 * one.confident.float().mean().item())
    assert report["dropped"]["recall"] == pytest.approx(100 * dropped[wrong].mean())
    assert report["dropped"]["precision"] == pytest.approx(100 * wrong[dropped].mean())
    assert {"disputed", "right_given", "right_chosen"} <= report.keys()


# As in test_ranks: plain SGD, one step; no dropout, which every rank would draw for itself.
STUDENT = """
default_hooks['cluster'] = dict(
    num_workers=0, clusterer=dict(_delete_=True, type='GroundTruthLabels')
)
default_hooks["logger"] = dict(interval=1)
log_processor = dict(window_size=1)
target['noise'] = dict(wrong_id=0.2, duplicate=0.1, seed=1)
model = dict(head=dict(soft_labels="{teacher}", loss=dict(negatives="ctrdHM")))
encoder['neck'] = dict(dropout=0.0)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr=1e-2))
param_scheduler = None
train_cfg = dict(max_epochs=1, val_interval=1)
iters_per_epoch = 1
"""


def test_a_student_on_two_ranks_is_one_on_one_rank(tiny, run_tool, tmp_path, teacher):
    if not teacher.exists():
        train(tiny(BASE, extra=TEACHER), teacher)
    config = tiny(BASE, extra=STUDENT.format(teacher=teacher))
    one, two = tmp_path / "one", tmp_path / "two"
    train(config, one)
    run_tool("tools/dist_train.sh", config, "--work-dir", two, processes=2)
    assert losses(two) == pytest.approx(losses(one), rel=1e-3) and len(losses(one)) == 1
    expected, found = (load(run / "epoch_1.pth")["state_dict"] for run in (one, two))
    assert expected.keys() == found.keys()
    assert not any("soft" in name for name in found), "the table stays out of the checkpoint"
    for name in ("head.centroids.plain", "head.centroids.unit", "head.classifier.weight"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-4)
    before = [json.loads((run / "results.json").read_text())["epochs"]["0"] for run in (one, two)]
    assert before[0] == before[1]
