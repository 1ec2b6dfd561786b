"""CAP and O2CAP: published numbers, slow loops, proxies that live through epochs, stops and two processes."""

import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.structures import Evidence, PseudoLabelState, split_by_camera
from mmreid_uda.testing import build_model, random_batch
from mmreid_uda.utils import InputError

CAP = "projects/cap_o2cap/configs/cap_mbv2_synthb.py"
O2CAP = "projects/cap_o2cap/configs/o2cap_mbv2_synthb.py"


def state_of(features, labels, cameras=None):
    evidence = None if cameras is None else Evidence(np.asarray(cameras))
    return PseudoLabelState(0, torch.as_tensor(labels), features, evidence=evidence)


def losses_of(model, x, index, labels):
    """Losses of images ``index`` of embeddings x, and what the memory then learns."""
    out = SimpleNamespace(normalized=F.normalize(x, dim=1), embedding=x, pooled=x)
    losses = model.loss_target(out, SimpleNamespace(sample_idx=index, gt_label=labels[index]))
    while model._lessons:
        model._lessons.pop(0)()
    return losses


def test_o2cap_gives_the_numbers_of_the_worked_example():
    def at(*degrees):
        angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
        return torch.stack([angles.cos(), angles.sin()], 1).float()

    model = build_model(
        load_config(
            O2CAP,
            {
                "model.head.temperature": 0.5,
                "model.num_negatives": 3,
                "model.num_positives": 2,
            },
        )
    )
    rows, clusters = at(0, 25, 60, 95, 130, 170), torch.tensor([0, 0, 1, 1, 2, 2])
    model.on_relabel(state_of(rows, clusters, [0, 1, 0, 1, 0, 1]))
    x = at(40, 100).requires_grad_()
    losses = losses_of(model, x, torch.tensor([0, 3]), clusters)
    values = {name: one.item() for name, one in losses.items()}
    assert values == dict(
        loss_offline=pytest.approx(2.664620, abs=1e-5),
        loss_online=pytest.approx(2.564639, abs=1e-5),
    )
    # The published gradient is that of x as it is: on the circle, its part along the circle is left.
    published = torch.tensor([[-1.429959, 1.402715], [-0.132166, -0.485059]])
    along = published - (published * x).sum(1, keepdim=True) * x
    gradient = torch.autograd.grad(sum(losses.values()), x)[0]
    torch.testing.assert_close(gradient, along.detach(), atol=1e-5, rtol=0)
    rows[[0, 3]] = torch.tensor([[0.845085, 0.534632], [-0.156445, 0.987687]])
    torch.testing.assert_close(model.head.memory.prototypes, rows, atol=1e-5, rtol=0)


# ---- slow loops


def cross_entropy(s, positives, negatives):
    among = sum(s[q].exp() for q in [*positives, *negatives])
    return -sum(torch.log(s[q].exp() / among) for q in positives) / len(positives)


def slow_loss(x, proxies, rows, clusters, cameras, weights, num_negatives, per_camera):
    """The sums as written, image by image."""
    everyone = range(len(rows))
    total = 0
    for i, own in enumerate(proxies):
        s = [x[i] @ row / 0.07 for row in rows]
        here = [q for q in everyone if cameras[q] == cameras[own]]
        intra = cross_entropy(s, [own], [q for q in here if q != own])
        same = [q for q in everyone if clusters[q] == clusters[own]]
        others = sorted((q for q in everyone if q not in same), key=lambda q: -s[q])
        offline = cross_entropy(s, same, others[:num_negatives])
        a = [0.15 * x[i] @ row + 0.85 * rows[own] @ row for row in rows]
        best = [
            max((q for q in everyone if cameras[q] == c), key=lambda q: a[q]) for c in set(cameras)
        ]
        alike = sorted(best, key=lambda q: -a[q])[:3]
        others = sorted((q for q in everyone if q not in alike), key=lambda q: -a[q])
        online = cross_entropy(s, alike, others[:num_negatives])
        images = sum(cameras[p] == cameras[own] for p in proxies) if per_camera else len(proxies)
        total = total + sum(w * one for w, one in zip(weights, (intra, offline, online))) / images
    return total


@pytest.mark.parametrize(
    ("config", "options", "weights"),
    [
        (CAP, {"model.num_negatives": 3}, (1, 0.5, 0)),
        (CAP, {}, (1, 0.5, 0)),
        (O2CAP, {"model.num_negatives": 3}, (0, 1, 1)),
        (O2CAP, {"model.intra_weight": 0.7, "model.per_camera": False}, (0.7, 1, 1)),
    ],
)
def test_loss_gradient_and_update_equal_slow_loops(config, options, weights):
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(60, 8, generator=generator), dim=1)
    labels = torch.randint(-1, 6, (60,), generator=generator)
    cameras = torch.randint(-1, 3, (60,), generator=generator)
    assert (cameras == -1).any(), "no camera is unknown"
    model = build_model(load_config(config, options))
    model.on_relabel(state_of(features, labels, cameras))

    index = torch.randperm(60, generator=generator)[:40]
    index = torch.cat([index[labels[index] >= 0], index[labels[index] >= 0][:5]])  # some twice
    pairs = sorted({(int(k), int(c)) for k, c in zip(labels, cameras) if k >= 0})
    proxies = [pairs.index((int(labels[i]), int(cameras[i]))) for i in index]
    rows = torch.stack(
        [F.normalize(features[(labels == k) & (cameras == c)].mean(0), dim=0) for k, c in pairs]
    )
    torch.testing.assert_close(model.head.memory.prototypes, rows)
    x = torch.randn(len(index), 8, generator=generator).requires_grad_()
    unit, (of_clusters, of_cameras) = F.normalize(x, dim=1), zip(*pairs)
    slow = slow_loss(
        unit,
        proxies,
        rows,
        of_clusters,
        of_cameras,
        weights,
        options.get("model.num_negatives", 50),
        options.get("model.per_camera", True),
    )
    losses = losses_of(model, x, index, labels)
    assert list(losses) == [
        name for name, w in zip(("loss_intra", "loss_offline", "loss_online"), weights) if w
    ]
    total = sum(losses.values())
    torch.testing.assert_close(total, slow, atol=1e-5, rtol=1e-5)
    found, expected = (torch.autograd.grad(one, x)[0] for one in (total, slow))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    for image, proxy in zip(unit.detach(), proxies):
        rows[proxy] = F.normalize(0.2 * rows[proxy] + 0.8 * image, dim=0)
    torch.testing.assert_close(model.head.memory.prototypes, rows)


# ---- life cycle

TINY = """
test = [dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)]
iters_per_epoch = 2
train_cfg = dict(max_epochs=3, val_interval=3)
default_hooks["report"] = None
default_hooks["checkpoint"]["save_best"] = None
"""
LATER = 'default_hooks["inter_camera"] = dict(start=1)\n'
STOP = """
custom_imports = dict(imports=["projects.cap_o2cap.cap_o2cap", "tests.e2e.stop_hook"])
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
        self.losses.append({name for name in outputs if name.startswith("loss_")})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "changes", "first", "later"),
    [
        (CAP, LATER, {"loss_intra"}, {"loss_intra", "loss_offline"}),
        (O2CAP, "", {"loss_offline", "loss_online"}, {"loss_offline", "loss_online"}),
    ],
)
def test_proxies_follow_the_labels_and_a_stopped_run_goes_on(
    tiny, tmp_path, config, changes, first, later
):
    def train(config, name, **options):
        runner = build_runner(load_config(config, {"work_dir": str(tmp_path / name), **options}))
        watch = WatchProxies()
        runner.register_hook(watch)
        runner.train()
        return watch

    watch = train(tiny(config, TINY + changes), "whole")
    assert watch.losses == [first] * 2 + [later] * 4
    for epoch, count in enumerate(watch.counts, 1):
        with np.load(tmp_path / "whole" / "pseudo_labels" / f"epoch_{epoch:03}.npz") as saved:
            assert json.loads(str(saved["statistics"]))["proxies"] == count

    with pytest.raises(RuntimeError, match="stopped after epoch 2"):
        train(tiny(config, TINY + changes + STOP, name="stopped"), "halves")
    train(tiny(config, TINY + changes), "halves", resume=True)
    one, other = (
        torch.load(tmp_path / name / "epoch_3.pth", weights_only=False)["state_dict"]
        for name in ("whole", "halves")
    )
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.slow
def test_epochs_without_any_loss_are_refused(tiny, tmp_path):
    config = load_config(tiny(O2CAP, TINY + LATER), {"work_dir": str(tmp_path)})
    with pytest.raises(InputError, match=r"start=1 with model\.intra_weight=0"):
        build_runner(config).train()


def share_of_a_batch(rank, world_size, config):
    """Losses, memory and gradient of the first layer of a rank's share of the batch; the mean gradient of all ranks."""
    cfg = load_config(config)
    model = build_model(cfg)
    model.encoder.eval()  # the same features on any number of ranks
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
@pytest.mark.parametrize("config", [CAP, O2CAP])
def test_two_ranks_are_one_rank(run_ranks, config):
    expected = share_of_a_batch(0, 1, config)
    for found in run_ranks(share_of_a_batch, args=(2, config)):
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
