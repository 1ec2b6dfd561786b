"""MEB-Net: authorities and losses of hand-checked numbers, and experts that are heard inside a real Runner."""

import numpy as np
import pytest
import torch

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.models.algorithms import MMT, MeanTeacherOutput
from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.testing import build_model, random_batch
from projects.mebnet.mebnet import authority, scatter_ratio

CONFIG = "projects/mebnet/configs/mebnet_mbv2_syntha2synthb.py"


def test_authority_of_the_worked_example():
    assert authority([1.2, 0.9, 0.6]).tolist() == pytest.approx([4 / 3, 1, 2 / 3])


def test_scatter_of_the_worked_example():
    features = np.array([[0, 0], [0, 1], [3, 0], [3, 2], [4, 1]], np.float32)
    ratio = scatter_ratio(features, np.array([0, 0, 1, 1, 1]))
    assert ratio == pytest.approx(14.201389 / 3.166667, abs=1e-5)
    assert ratio == pytest.approx(4.484649, abs=1e-5)


def slow_scatter(features, labels):
    groups = [features[labels == k] for k in np.unique(labels)]
    means = [group.mean(0) for group in groups]
    middle = sum(means) / len(means)
    within = sum(((x - mean) ** 2).sum() for group, mean in zip(groups, means) for x in group)
    between = sum(len(group) * ((mean - middle) ** 2).sum() for group, mean in zip(groups, means))
    return between / within


def test_scatter_equals_a_slow_loop():
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((40, 5)), np.r_[np.arange(7), rng.integers(0, 7, 33)]
    assert scatter_ratio(features, labels) == pytest.approx(slow_scatter(features, labels))


LOGITS = torch.tensor(
    [[[2, 0.5, -1], [0, 2, 0.5]], [[1.5, 0, -0.5], [-1, 1.8, 0]], [[1, 1, 0], [0.2, 1, 0.3]]]
)
LABELS = torch.tensor([0, 1])


def outputs(logits, generator):
    """One branch each: pooled features (1, B, D) and logits (1, B, K)."""
    return [BranchOutput(torch.randn(1, 2, 4, generator=generator), z[None]) for z in logits]


def slow_soft_triplet(student, teacher):
    """Of two images of two people: the positive is the image itself, the negative the other."""
    total = 0.0
    for i in range(2):
        pairs = []
        for f in (student, teacher):
            positive, negative = 1e-6, float((f[i] - f[1 - i]).norm())
            pairs.append(np.exp(negative) / (np.exp(positive) + np.exp(negative)))
        t, u = pairs
        total -= (1 - u) * np.log(1 - t) + u * np.log(t)
    return total / 2


def test_losses_of_the_worked_example_and_of_a_slow_loop():
    model = build_model(load_config(CONFIG, {"stage1": None}))
    model.authority = authority([1.2, 0.9, 0.6])
    generator = torch.Generator().manual_seed(1)
    students = outputs(LOGITS, generator)
    teachers = outputs(1.1 * LOGITS + 0.05 * torch.tensor([1, -1, 0.5]), generator)
    out = MeanTeacherOutput(students, teachers)
    losses = model.loss_target(out, ReIDDataSample(gt_label=LABELS))
    total = {
        name: sum(losses[f"loss_{name}_{j}"].item() for j in (1, 2, 3))
        for name in ("ce", "soft_ce", "soft_triplet")
    }
    assert total["ce"] == pytest.approx(0.5 * 1.602798, abs=1e-5)
    assert total["soft_ce"] == pytest.approx(0.5 * 2.601174, abs=1e-5)
    expected = sum(
        0.5 * float(model.authority[i]) * slow_soft_triplet(students[j].pooled[0], teachers[i].pooled[0])
        for i in range(3)
        for j in range(3)
        if i != j
    )  # fmt: skip
    assert total["soft_triplet"] == pytest.approx(0.8 * expected, abs=1e-4)


def test_with_equal_authorities_it_is_mutual_mean_teaching():
    cfg = load_config(CONFIG, {"stage1": None})
    batch = random_batch(cfg)
    found = build_model(cfg)(*batch, mode="loss")
    cfg.model.type = "MMT"
    model = build_model(cfg)
    assert type(model) is MMT
    expected = model(*batch, mode="loss")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_experts_cluster_alone_and_their_authority_is_kept(tiny, tmp_path):
    extra = """
stage1 = None
default_hooks["cluster"]["clusterer"] = dict(num_clusters=8)
default_hooks["report"] = default_hooks["every_teacher"] = None
default_hooks["checkpoint"]["save_best"] = None
test = [dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)]
iters_per_epoch = 1
train_cfg = dict(max_epochs=2, val_interval=2)
"""
    runner = build_runner(load_config(tiny(CONFIG, extra), {"work_dir": str(tmp_path / "run")}))
    runner.train()
    model = runner.model
    assert model.authority.mean().item() == pytest.approx(1)
    assert model.authority.unique().numel() == 3  # the views, and so the averages, differ
    saved = torch.load(tmp_path / "run" / "epoch_2.pth", weights_only=False)["state_dict"]
    assert torch.equal(saved["authority"], model.authority)
    # What was clustered is the mean of the unit features of all three.
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    images, _ = hook.collect(runner)
    features = images.features
    assert (features.norm(dim=1) < 1 - 1e-6).any() and (features.norm(dim=1) <= 1 + 1e-6).all()
