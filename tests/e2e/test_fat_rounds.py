"""FAT in real Runners: a teacher in rounds on noisy labels, over a stop; its student on one rank and on two."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from same_state import assert_same_state, load
from test_ranks import losses

from mmreid_uda.config import load_config
from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.engine import build_runner
from mmreid_uda.engine.extraction import with_pipeline
from mmreid_uda.structures import SoftLabels

pytestmark = pytest.mark.slow

# A network that has seen twelve images of a person is not sure of much: half a chance counts as confident.
TEACHER = """
default_hooks['cluster'] = dict(
    num_workers=0,
    interval=2,
    clusterer=dict(
        _delete_=True, type='ConfidentLabels', threshold=0.5, min_per_class=2, first_epoch=2
    ),
)
default_hooks['soft_labels'] = dict(write=True)
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
    runner = build_runner(load_config(config, dict(work_dir=str(work_dir), resume=resume)))
    runner.train()
    return runner


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Where the teacher's run lies; the first test makes it, the second learns from it."""
    return tmp_path_factory.mktemp("teacher") / "whole"


def test_a_stopped_teacher_goes_on_as_if_it_had_not_been(tiny, tmp_path, teacher):
    config, halves = tiny(BASE, extra=TEACHER), tmp_path / "halves"
    runner = train(config, teacher)
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
    assert json.loads((teacher / "teacher.json").read_text()) == slow_report(one, noise)
    # The centroids of the second round are means of what the network gave before it.
    features = pooled_features(runner, teacher / "epoch_2.pth")
    centroids = torch.stack([features[sure == label].mean(0) for label in range(12)])
    torch.testing.assert_close(
        first["state_dict"]["head.centroids.plain"], centroids, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def pooled_features(runner, checkpoint):
    """What the encoder of a checkpoint gives for the training images: (N, D)."""
    model, cfg = runner.model.eval(), runner.cfg
    model.load_state_dict(load(checkpoint)["state_dict"])
    images = with_pipeline(runner.train_dataloader.dataset.target, cfg.test_pipeline)
    batch = model.data_preprocessor(reid_collate([images[i] for i in range(len(images))]), False)
    return model.encoder(batch["inputs"]).pooled


def slow_report(soft, noise):
    """What ``teacher.json`` says, image by image."""
    counts = Counter()
    for row, trusted, given, clean, kind in zip(
        soft.probabilities, soft.confident, noise["labels"], noise["clean_labels"], noise["noise"]
    ):
        chosen = int(row.argmax())
        true = dict(
            images=True,
            confident=trusted,
            wrong=kind != "",
            right_given=given == clean,
            right_chosen=chosen == clean,
            corrected=kind != "" and chosen == clean,
            dropped=not trusted,
            dropped_wrong=kind != "" and not trusted,
            disputed=chosen != given,
            disputed_wrong=kind != "" and chosen != given,
        )
        counts.update(name for name, holds in true.items() if holds)

    def percent(part, whole):
        return pytest.approx(100 * counts[part] / counts[whole])

    return dict(
        confident=percent("confident", "images"),
        wrong=percent("wrong", "images"),
        right_given=percent("right_given", "images"),
        right_chosen=percent("right_chosen", "images"),
        corrected=percent("corrected", "wrong"),
        **{
            found: dict(
                precision=percent(f"{found}_wrong", found),
                recall=percent(f"{found}_wrong", "wrong"),
            )
            for found in ("dropped", "disputed")
        },
    )


# As in test_ranks: plain SGD, one step; no dropout, which every rank would draw for itself.
STUDENT = """
default_hooks['cluster'] = dict(
    num_workers=0, clusterer=dict(_delete_=True, type='GroundTruthLabels')
)
default_hooks["logger"] = dict(interval=1)
log_processor = dict(window_size=1)
target['noise'] = dict(wrong_id=0.2, duplicate=0.1, seed=1)
model = dict(negatives="ctrdHM", head=dict(soft_labels="{teacher}"))
encoder['neck'] = dict(dropout=0.0)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr=1e-2))
param_scheduler = None
train_cfg = dict(max_epochs=1, val_interval=1)
iters_per_epoch = 1
load_from = "{teacher}/epoch_4.pth"
"""


def test_a_student_on_two_ranks_is_one_on_one_rank(tiny, run_tool, tmp_path, teacher):
    if not teacher.exists():
        train(tiny(BASE, extra=TEACHER), teacher)
    config = tiny(BASE, extra=STUDENT.format(teacher=teacher))
    one, two = tmp_path / "one", tmp_path / "two"
    runner = train(config, one)
    run_tool("tools/dist_train.sh", config, "--work-dir", two, processes=2)
    assert losses(two) == pytest.approx(losses(one), rel=1e-3) and len(losses(one)) == 1
    expected, found = (load(run / "epoch_1.pth")["state_dict"] for run in (one, two))
    assert expected.keys() == found.keys()
    assert not any("soft" in name for name in found), "the table stays out of the checkpoint"
    for name in ("head.centroids.plain", "head.centroids.unit"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-4)
    start = load(teacher / "epoch_4.pth")["state_dict"]
    for part in (runner.model.encoder.backbone, runner.model.encoder.neck, runner.model.head):
        [prefix] = [name for name, module in runner.model.named_modules() if module is part]
        names = [f"{prefix}.{name}" for name, _ in part.named_parameters()]
        steps = [
            torch.cat([(after[name] - start[name]).flatten() for name in names])
            for after in (expected, found)
        ]
        # Rounding makes 0.1 % at most; a missing part of the batch would make 50 % and more.
        assert (steps[1] - steps[0]).norm() < 0.05 * steps[0].norm(), prefix
    before = [json.loads((run / "results.json").read_text())["epochs"]["0"] for run in (one, two)]
    assert before[0] == before[1]
