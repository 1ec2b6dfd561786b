"""CAP: published and hand-checked numbers, slow loops, proxies that live through epochs, stops and two processes."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.structures import Evidence, PseudoLabelState
from mmreid_uda.testing import build_model, random_batch
from projects.cap.cap import (
    ProxyBalancedSampler,
    ProxyMemory,
    inter_camera_loss,
    intra_camera_loss,
    split_by_camera,
    sum_over_cameras,
)

CONFIG = "projects/cap/configs/cap_mbv2_synthb.py"

# ---- the example of O2CAP, whose offline loss is CAP's inter-camera loss: two images, six proxies of two cameras

CLUSTERS = torch.tensor([0, 0, 1, 1, 2, 2])
CAMERAS = torch.tensor([0, 1, 0, 1, 0, 1])
PROXIES = torch.tensor([0, 3])  # of the two images


def at(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], 1).float()


ROWS, IMAGES = at(0, 25, 60, 95, 130, 170), at(40, 100)


def test_losses_of_the_worked_example():
    logits = IMAGES @ ROWS.T / 0.5
    inter = inter_camera_loss(logits, PROXIES, CLUSTERS, num_negatives=3)
    assert sum_over_cameras(inter, CAMERAS[PROXIES]).item() == pytest.approx(2.664620, abs=1e-5)
    # exp(2 s) over the own camera: 4.627834, 6.549477, 1.000000 of the one; 1.678060, 7.333034, 1.981869 of the other
    expected = [-np.log(4.627834 / 12.177311), -np.log(7.333034 / 10.992963)]
    intra = intra_camera_loss(logits, PROXIES, CAMERAS)
    assert intra.tolist() == pytest.approx(expected, abs=1e-5)


def state_of(rows, labels, cameras=None):
    evidence = None if cameras is None else Evidence(np.asarray(cameras))
    return PseudoLabelState(0, torch.as_tensor(labels), rows, evidence=evidence)


def test_the_memory_of_the_worked_example():
    memory = ProxyMemory()
    memory.reset(state_of(ROWS, CLUSTERS, CAMERAS))
    torch.testing.assert_close(memory.prototypes, ROWS)
    memory.update(IMAGES, CLUSTERS[PROXIES], PROXIES)
    after = ROWS.clone()
    after[PROXIES] = torch.tensor([[0.845085, 0.534632], [-0.156445, 0.987687]])
    torch.testing.assert_close(memory.prototypes, after, atol=1e-5, rtol=0)


# ---- slow loops


def slow_loss(x, proxies, rows, clusters, cameras, num_negatives, weight, temperature):
    """The sums as written, image by image."""
    total = 0
    for camera in {int(cameras[p]) for p in proxies}:
        members = [i for i, p in enumerate(proxies) if cameras[p] == camera]
        for i in members:
            s = [x[i] @ row / temperature for row in rows]
            own = int(proxies[i])
            same_camera = [q for q in range(len(rows)) if cameras[q] == camera]
            intra = -torch.log(s[own].exp() / sum(s[q].exp() for q in same_camera))
            positives = [q for q in range(len(rows)) if clusters[q] == clusters[own]]
            others = sorted(
                (q for q in range(len(rows)) if q not in positives), key=lambda q: -s[q]
            )
            among = sum(s[q].exp() for q in positives + others[:num_negatives])
            inter = -sum(torch.log(s[q].exp() / among) for q in positives) / len(positives)
            total = total + (intra + weight * inter) / len(members)
    return total


@pytest.mark.parametrize("num_negatives", [3, 50])
def test_loss_gradient_and_update_equal_slow_loops(num_negatives):
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(60, 8, generator=generator), dim=1)
    labels = torch.randint(-1, 6, (60,), generator=generator)
    cameras = torch.randint(-1, 3, (60,), generator=generator)
    assert (cameras == -1).any(), "no camera is unknown"
    model = build_model(load_config(CONFIG, {"model.num_negatives": num_negatives}))
    model.inter_camera = True
    model.on_relabel(state_of(features, labels, cameras))
    memory = model.head.memory

    index = torch.randperm(60, generator=generator)[:40]
    index = torch.cat([index[labels[index] >= 0], index[labels[index] >= 0][:5]])  # some twice
    pairs = sorted({(int(k), int(c)) for k, c in zip(labels, cameras) if k >= 0})
    proxies = [pairs.index((int(labels[i]), int(cameras[i]))) for i in index]
    rows = torch.stack(
        [F.normalize(features[(labels == k) & (cameras == c)].mean(0), dim=0) for k, c in pairs]
    )
    torch.testing.assert_close(memory.prototypes, rows)
    x = torch.randn(len(index), 8, generator=generator).requires_grad_()
    unit, of_clusters, of_cameras = F.normalize(x, dim=1), *zip(*pairs)
    slow = slow_loss(unit, proxies, rows, of_clusters, of_cameras, num_negatives, 0.5, 0.07)
    expected = torch.autograd.grad(slow, x)[0]

    out = SimpleNamespace(normalized=F.normalize(x, dim=1), embedding=x, pooled=x)
    samples = SimpleNamespace(sample_idx=index, gt_label=labels[index])
    losses = model.loss_target(out, samples)
    assert losses.keys() == {"loss_intra", "loss_inter"}
    total = sum(losses.values())
    torch.testing.assert_close(total, slow, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(total, x)[0], expected, atol=1e-5, rtol=1e-4)

    memory.update(unit.detach(), labels[index], index)
    for image, proxy in zip(unit.detach(), proxies):
        rows[proxy] = F.normalize(0.2 * rows[proxy] + 0.8 * image, dim=0)
    torch.testing.assert_close(memory.prototypes, rows)


# ---- proxies


def test_clusters_are_split_by_camera_and_an_unknown_one_is_one_more():
    labels = np.array([1, 0, -1, 1, 1, 0, 1])
    cameras = np.array([3, 0, 0, -1, 3, 0, -1])
    proxies, clusters, of = split_by_camera(labels, cameras)
    assert proxies.tolist() == [2, 0, -1, 1, 2, 0, 1]
    assert clusters.tolist() == [0, 1, 1] and of.tolist() == [0, -1, 3]


def test_without_cameras_proxies_are_clusters_and_a_warning_says_so(monkeypatch):
    model, said = build_model(load_config(CONFIG)), []
    monkeypatch.setattr("projects.cap.cap.print_log", lambda text, *_: said.append(text))
    model.on_relabel(state_of(ROWS, CLUSTERS, CAMERAS))
    assert said == []
    model.on_relabel(state_of(ROWS, CLUSTERS))
    memory = model.head.memory
    assert torch.equal(memory.proxies, CLUSTERS) and memory.cameras.tolist() == [-1] * 3
    assert len(said) == 1 and "of one camera" in said[0]


def test_a_memory_of_another_size_is_loaded():
    saved, loaded = ProxyMemory(), ProxyMemory()
    saved.reset(state_of(ROWS, CLUSTERS, CAMERAS))
    loaded.reset(state_of(ROWS, CLUSTERS))
    loaded.load_state_dict(saved.state_dict())
    assert all(
        torch.equal(loaded.state_dict()[name], one) for name, one in saved.state_dict().items()
    )


class Images:
    """A target of labels and cameras without pictures; each unknown camera has a number of its own, as in data sets."""

    domain = 1

    def __init__(self, labels, cameras):
        self.labels, self.target = labels, self
        self.camids = np.where(cameras < 0, 100 + np.arange(len(labels)), cameras)
        self.evidence = Evidence(cameras)

    def __len__(self):
        return len(self.labels)


def test_batches_have_as_many_images_of_each_of_their_proxies():
    rng = np.random.default_rng(0)
    labels, cameras = rng.integers(-1, 12, 300), rng.integers(-1, 4, 300)
    images = Images(labels, cameras)
    proxies, clusters, _ = split_by_camera(labels, cameras)
    sizes = np.bincount(proxies[proxies >= 0])
    assert sizes.min() < 4 <= sizes.max()
    sampler = ProxyBalancedSampler(
        DefaultSampler(images, shuffle=False), batch_size=32, num_instances=4
    )
    drawn = sampler.draw_pass(1, labels, images.camids, np.random.default_rng(1))
    assert Counter(proxies[drawn]) == dict.fromkeys(range(len(clusters)), 4)
    for four in drawn.reshape(-1, 4):
        [proxy] = set(proxies[four])
        assert len(set(four)) == 4 or sizes[proxy] < 4
    order = proxies[drawn[::4]].tolist()
    assert order != sorted(order), "the proxies are not in random order"
    for batch in sampler.plan(1):
        assert Counter(Counter(proxies[batch]).values()) == {4: 8}


# ---- life cycle

TINY = """
test = [dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)]
iters_per_epoch = 2
train_cfg = dict(max_epochs=3, val_interval=3)
default_hooks["inter_camera"] = dict(start=1)
default_hooks["report"] = None
default_hooks["checkpoint"]["save_best"] = None
"""
STOP = """
custom_imports = dict(imports=["projects.cap.cap", "tests.e2e.stop_hook"])
custom_hooks = [dict(type="StopAfterEpoch", epoch=2)]
"""


class WatchProxies(Hook):
    """Forgets some cameras, compares the memory and the batches with the others, and keeps what is logged."""

    priority = "LOWEST"

    def __init__(self):
        self.losses, self.counts = [], []

    def before_train(self, runner):
        runner.train_dataloader.dataset.target.evidence.cameras[::3] = -1

    def before_train_epoch(self, runner):
        target, memory = runner.train_dataloader.dataset.target, runner.model.head.memory
        proxies, _, cameras = split_by_camera(target.labels.numpy(), target.evidence.cameras)
        assert memory.proxies.tolist() == proxies.tolist()
        assert memory.cameras.tolist() == cameras.tolist() and {-1, 0} <= set(cameras)
        self.counts.append(len(cameras))
        for batch in runner.train_dataloader.batch_sampler.plan(1):
            assert Counter(Counter(proxies[batch]).values()) == {4: 4}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append("loss_inter" in outputs)


@pytest.mark.slow
def test_proxies_follow_the_labels_and_a_stopped_run_goes_on(tiny, tmp_path):
    def train(config, name, **options):
        runner = build_runner(load_config(config, {"work_dir": str(tmp_path / name), **options}))
        watch = WatchProxies()
        runner.register_hook(watch)
        runner.train()
        return watch

    watch = train(tiny(CONFIG, TINY), "whole")
    assert watch.losses == [False, False, True, True, True, True]
    for epoch, count in enumerate(watch.counts, 1):
        with np.load(tmp_path / "whole" / "pseudo_labels" / f"epoch_{epoch:03}.npz") as saved:
            assert json.loads(str(saved["statistics"]))["proxies"] == count

    with pytest.raises(RuntimeError, match="stopped after epoch 2"):
        train(tiny(CONFIG, TINY + STOP, name="stopped"), "halves")
    train(tiny(CONFIG, TINY), "halves", resume=True)
    first, second = (
        torch.load(tmp_path / name / "epoch_3.pth", weights_only=False)["state_dict"]
        for name in ("whole", "halves")
    )
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def share_of_a_batch(rank, world_size):
    """Losses, memory and gradient of the first layer of a rank's share of the batch; the mean gradient of all ranks."""
    cfg = load_config(CONFIG)
    model = build_model(cfg)
    model.encoder.eval()  # the same features on any number of ranks
    model.inter_camera = True
    labels, cameras = torch.arange(12) % 4, np.arange(12) // 4 % 2
    features = F.normalize(torch.randn(12, 1280, generator=torch.Generator().manual_seed(0)), dim=1)
    model.on_relabel(state_of(features, labels, cameras))
    images, samples = random_batch(cfg)
    samples.sample_idx = torch.tensor([0, 4, 5, 10])  # one camera has three of the four images
    samples.gt_label = labels[samples.sample_idx]
    own = torch.arange(len(images)).view(world_size, -1)[rank]
    losses = model(images[own], samples[own], mode="loss")
    sum(losses.values()).backward()
    gradient = next(model.encoder.parameters()).grad
    if world_size > 1:
        torch.distributed.all_reduce(gradient)
    values = [*losses.values(), model.head.memory.prototypes, gradient / world_size]
    return [value.detach().numpy() for value in values]


@pytest.mark.slow
def test_two_ranks_are_one_rank(run_ranks):
    expected = share_of_a_batch(0, 1)
    for found in run_ranks(share_of_a_batch, args=(2,)):
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
