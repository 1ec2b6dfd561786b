"""FCM: published numbers, a slow loop, features that are clustered and remembered through epochs, stops and ranks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.testing import build_model, random_batch
from mmreid_uda.utils import InputError
from projects.fcm.fcm import calibrate

CONFIG = "projects/fcm/configs/fcm_mbv2_synthb.py"


@pytest.mark.parametrize(
    "temperature, k, w, expected",
    [
        (1.0, 2, 1.0, [4.810569, 15.189431, 43.134518, 109.763935]),
        (1.0, 3, 0.0, [20.179503, 22.498802, 26.204743, 84.844032]),
        (0.05, 3, 0.0, [4.593624, 17.092879, 48.113893, 119.999896]),
    ],
)
def test_angles_of_the_worked_example(temperature, k, w, expected):
    angles = torch.deg2rad(torch.tensor([0, 20, 50, 120], dtype=torch.float64))
    rows = torch.stack([angles.cos(), angles.sin()], 1)
    found = calibrate(rows, k, temperature, w)
    degrees = torch.rad2deg(torch.atan2(found[:, 1], found[:, 0])).tolist()
    assert degrees == pytest.approx(expected, abs=5e-5)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))


def slow_calibration(features, k, temperature, w, layers):
    """Image by image, with all similarities."""
    rows = [row / np.linalg.norm(row) for row in features.double().numpy()]
    for _ in range(layers):
        averaged = []
        for one in rows:
            similarities = sorted(((one @ other, j) for j, other in enumerate(rows)), reverse=True)
            nearest = similarities[:k]
            weights = [np.exp(similarity / temperature) for similarity, _ in nearest]
            mean = sum(a / sum(weights) * rows[j] for a, (_, j) in zip(weights, nearest))
            averaged.append((w * one + mean) / np.linalg.norm(w * one + mean))
        rows = averaged
    return torch.from_numpy(np.stack(rows)).float()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_averages_equal_a_slow_loop(layers, monkeypatch):
    monkeypatch.setattr("projects.fcm.fcm._ROWS", 7)
    features = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    for options in ((5, 0.1, 0.5), (30, 1.0, 0.0), (99, 0.05, 1.0)):
        found = calibrate(features, *options, layers)
        expected = slow_calibration(features, *options, layers)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(InputError, match="temperature=0"):
        calibrate(torch.eye(3), temperature=0)


def test_without_layers_it_is_cluster_contrast():
    cfg = load_config(CONFIG, {"model.layers": 0})
    plain = load_config("configs/cluster_contrast/cluster-contrast_mbv2_synthb.py")
    losses = [build_model(one)(*random_batch(one), mode="loss") for one in (cfg, plain)]
    torch.testing.assert_close(*losses)
    other = build_model(load_config(CONFIG))(*random_batch(cfg), mode="loss")
    assert abs(other["loss_contrast"] - losses[0]["loss_contrast"]) > 1e-3


# ---- life cycle

TINY = """
stage1 = None
test = [dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)]
iters_per_epoch = 2
train_cfg = dict(max_epochs=4, val_interval=4)
default_hooks["report"] = None
default_hooks["checkpoint"]["save_best"] = None
"""
STOP = """
custom_imports = dict(imports=["projects.fcm.fcm", "tests.e2e.stop_hook"])
custom_hooks = [dict(type="StopAfterEpoch", epoch=2)]
"""


class WatchMemory(Hook):
    """Compares the memory with the centroids of calibrated features."""

    priority = "LOWEST"

    def before_train(self, runner):
        [cluster] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
        model, self.seen = runner.model, 0

        def collect(*args, **options):
            images, answers = type(cluster).collect(cluster, *args, **options)
            self.rows = images.features
            calibration, model.calibration = model.calibration, dict(layers=0)
            plain = type(cluster).collect(cluster, *args, **options)[0].features
            model.calibration = calibration
            torch.testing.assert_close(self.rows, slow_calibration(plain, 8, 1.0, 1.0, 1))
            return images, answers

        cluster.collect = collect

    def before_train_epoch(self, runner):
        labels = runner.train_dataloader.dataset.target.labels
        memory = runner.model.head.memory.prototypes
        rows = [F.normalize(self.rows[labels == k].mean(0), dim=0) for k in range(len(memory))]
        torch.testing.assert_close(memory, torch.stack(rows))
        self.seen += 1


@pytest.mark.slow
def test_clusters_and_memory_are_of_averages_and_a_stopped_run_goes_on(tiny, tmp_path):
    def train(config, name, watch=None, **options):
        runner = build_runner(load_config(config, {"work_dir": str(tmp_path / name), **options}))
        if watch:
            runner.register_hook(watch)
        runner.train()

    watch = WatchMemory()
    train(tiny(CONFIG, TINY), "whole", watch)
    assert watch.seen == 4
    with pytest.raises(RuntimeError, match="stopped after epoch 2"):
        train(tiny(CONFIG, TINY + STOP, name="stopped"), "halves")
    train(tiny(CONFIG, TINY), "halves", resume=True)
    first, second = (
        torch.load(tmp_path / name / "epoch_4.pth", weights_only=False)["state_dict"]
        for name in ("whole", "halves")
    )
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    # The second stage begins where a run has ended.
    model = build_model(load_config(CONFIG, dict(stage1=str(tmp_path / "whole"))))
    model.encoder.init_weights()
    weights = model.encoder.state_dict()
    names = {name for name in weights if f"encoder.{name}" in first}
    assert names == set(weights)
    assert all(torch.equal(weights[name], first[f"encoder.{name}"]) for name in names)


def calibrate_on_a_rank(rank, features):
    return calibrate(features, 5, 0.5, 0.5, 2).numpy()


@pytest.mark.slow
def test_two_ranks_are_one_rank(run_ranks):
    features = torch.randn(70, 6, generator=torch.Generator().manual_seed(0))
    expected = calibrate(features, 5, 0.5, 0.5, 2).numpy()
    for found in run_ranks(calibrate_on_a_rank, args=(features,)):
        np.testing.assert_array_equal(found, expected)
