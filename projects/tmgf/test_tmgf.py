"""TMGF: heads and stripes, losses against slow loops, cameras at test time, runs that go on, two processes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.models.layers import cameras_of
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import Evidence, PseudoLabelState
from mmreid_uda.testing import build_model, random_batch
from mmreid_uda.utils import InputError

CONFIG = "projects/tmgf/configs/tmgf_vit-t-ics_synthd.py"
SMALL = dict(input_size=(64, 32))  # four rows of two patches


def bn_at_rest(model):
    """The same features on any number of ranks, while the model trains."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) or "IN" in dict(
            module.named_children()
        ):
            module.eval()
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    return model


# ---- encoder


def test_every_head_starts_from_the_last_block_of_a_file(tmp_path):
    options = load_config(CONFIG, {"input_size": (96, 48)}).model.encoder.backbone
    net, file = MODELS.build({**options, "cameras": None}).net, tmp_path / "file.pth"
    torch.save(dict(model=net.state_dict()), file)
    cfg = load_config(CONFIG, SMALL)
    cfg.model.encoder.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(file))
    encoder = MODELS.build(cfg.model.encoder)
    encoder.init_weights()
    [[block, norm]] = encoder.copies
    for found in (block, encoder.backbone.net.blocks[-1]):
        torch.testing.assert_close(found.state_dict(), net.blocks[-1].state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(norm.state_dict(), net.norm.state_dict(), rtol=0, atol=0)
    assert encoder.backbone.net.pos_embed.shape[1] < net.pos_embed.shape[1]


def test_parts_are_stripes_of_the_patches_of_a_head():
    cfg = load_config(CONFIG, SMALL)
    encoder = bn_at_rest(build_model(cfg)).encoder
    images, samples = random_batch(cfg)
    net = encoder.backbone.net
    [[block, norm]] = encoder.copies
    block.mlp.fc2.weight.data.neg_()  # a head of its own

    with cameras_of(encoder, samples), torch.no_grad():
        shared = encoder.backbone.embed(images)
        for one in net.blocks[:-1]:
            shared = one(shared)
        first, second = net.norm(net.blocks[-1](shared)), norm(block(shared))
        expected = [(first[:, 0] + second[:, 0]) / 2]
        for tokens, stripes in ((first, 2), (second, 4)):
            rows = tokens[:, 1:].view(4, 4, 2, 192)
            height = 4 // stripes
            expected += [
                torch.stack(
                    [rows[:, h, w] for h in range(top, top + height) for w in range(2)]
                ).mean(0)
                for top in range(0, 4, height)
            ]
        out = encoder(images)
        torch.testing.assert_close(out.pooled, torch.cat(expected, 1))
        necks = [encoder.neck, *encoder.part_necks]
        for number, neck in enumerate(necks):
            neck.bn.running_mean.fill_(number)
        embedding = torch.cat([neck(f) for neck, f in zip(necks, expected)], 1)
        torch.testing.assert_close(encoder(images).embedding, embedding)
        encoder.eval()
        alone = encoder(images)
    assert encoder.num_branches == 7 and encoder.embed_dim == embedding.shape[1] == 7 * 192
    torch.testing.assert_close(alone.embedding, embedding[:, :192])
    assert alone.pooled.shape == (4, 192)


def test_features_are_those_of_the_camera_at_test_time_too():
    cfg = load_config(CONFIG, SMALL)
    model = build_model(cfg).eval()
    images, samples = random_batch(cfg)
    images = images[:1].expand(4, -1, -1, -1).contiguous()
    samples.camera = torch.tensor([0, 1, 1, 7])  # of the last one nothing is known
    [predicted] = model(images, samples, mode="predict")
    features = predicted.features.detach()
    similarity = features @ features.T
    assert similarity[1, 2] == pytest.approx(1, abs=1e-5)
    assert similarity[0, 1] < 0.999 and similarity[0, 3] < 0.999 and similarity[1, 3] < 0.999
    torch.testing.assert_close(model(images, samples, mode="tensor"), predicted.features)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("stripes", (2, 3), r"stripes=\(2, 3\) and 4 rows"),
        ("backbone", dict(type="MobileNetV2"), "'type': 'MobileNetV2'.* expected .*ReIDViT"),
        ("backbone.output", "mean", "'output': 'mean'.* expected .*output='token'"),
    ],
)
def test_what_has_no_stripes_is_refused(key, value, words):
    cfg = load_config(CONFIG, SMALL)
    if key == "backbone":
        cfg.model.encoder.pop(key)
    cfg.merge_from_dict({f"model.encoder.{key}": value})
    with pytest.raises(InputError, match=words):
        MODELS.build(cfg.model.encoder)


# ---- losses


def cross_entropy(s, positives, negatives):
    among = sum(s[q].exp() for q in [*positives, *negatives])
    return -sum(torch.log(s[q].exp() / among) for q in positives) / len(positives)


def slow_loss(x, proxies, rows, clusters, cameras):
    """The sums as written, of images x (B, n, D) and rows (n, P, D), branch by branch, image by image."""
    everyone = range(rows.shape[1])
    of_branch = []
    for branch, own_rows in enumerate(rows):
        values = []
        for image, own in zip(x[:, branch], proxies):
            s = [image @ row / 0.07 for row in own_rows]
            same = [q for q in everyone if clusters[q] == clusters[own]]
            others = sorted((q for q in everyone if q not in same), key=lambda q: -s[q])
            offline = cross_entropy(s, same, others[:5])
            a = [0.15 * image @ row + 0.85 * own_rows[own] @ row for row in own_rows]
            best = [
                max((q for q in everyone if cameras[q] == c), key=lambda q: a[q])
                for c in set(cameras)
            ]
            alike = sorted(best, key=lambda q: -a[q])[:2]
            others = sorted((q for q in everyone if q not in alike), key=lambda q: -a[q])
            values.append(offline + cross_entropy(s, alike, others[:5]))
        of_branch.append(sum(values) / len(values))
    return of_branch[0] + 0.1 * sum(of_branch[1:]) / len(of_branch[1:])


def test_loss_gradient_and_update_equal_slow_loops():
    generator = torch.Generator().manual_seed(0)
    model = build_model(
        load_config(CONFIG, {**SMALL, "model.num_negatives": 5, "model.num_positives": 2})
    )
    features = F.normalize(torch.randn(40, 7, 8, generator=generator), dim=2)
    labels = torch.randint(-1, 5, (40,), generator=generator)
    cameras = torch.randint(-1, 3, (40,), generator=generator)
    images = SimpleNamespace(target=None)
    clustered = model.cluster_features(lambda network, dataset: 3 * features.flatten(1), images)
    torch.testing.assert_close(clustered, features[:, 0])
    model.on_relabel(PseudoLabelState(0, labels, clustered, evidence=Evidence(cameras.numpy())))

    index = torch.randperm(40, generator=generator)[:20]
    index = torch.cat([index[labels[index] >= 0], index[labels[index] >= 0][:5]])  # some twice
    pairs = sorted({(int(k), int(c)) for k, c in zip(labels, cameras) if k >= 0})
    proxies = [pairs.index((int(labels[i]), int(cameras[i]))) for i in index]
    rows = torch.stack([features[(labels == k) & (cameras == c)].mean(0) for k, c in pairs], 1)
    rows = F.normalize(rows, dim=2)
    memory = model.head.memory
    torch.testing.assert_close(memory.parts, rows)

    x = torch.randn(len(index), 56, generator=generator).requires_grad_()
    unit, (of_clusters, of_cameras) = F.normalize(x.view(-1, 7, 8), dim=2), zip(*pairs)
    slow = slow_loss(unit, proxies, rows, of_clusters, of_cameras)
    samples = SimpleNamespace(sample_idx=index, gt_label=labels[index])
    losses = model.loss_target(SimpleNamespace(embedding=x), samples)
    assert losses.keys() == {"loss_offline", "loss_online"}
    total = sum(losses.values())
    torch.testing.assert_close(total, slow, atol=1e-5, rtol=1e-5)
    found, expected = (torch.autograd.grad(one, x)[0] for one in (total, slow))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)

    model._lessons.pop()()
    for image, proxy in zip(unit.detach(), proxies):
        rows[:, proxy] = F.normalize(0.2 * rows[:, proxy] + 0.8 * image, dim=1)
    torch.testing.assert_close(memory.parts, rows)


# ---- life cycle

TINY = """
test = [dict(name="synthd", num_train_ids=12, num_test_ids=6, images_per_id=6)]
iters_per_epoch = 2
train_cfg = dict(max_epochs=3, val_interval=3)
encoder["backbone"] = dict(cameras=6)
default_hooks["report"] = None
default_hooks["checkpoint"]["save_best"] = None
"""
STOP = """
custom_imports = dict(imports=["projects.tmgf.tmgf", "tests.e2e.stop_hook"])
custom_hooks = [dict(type="StopAfterEpoch", epoch=2)]
"""


@pytest.mark.slow
def test_a_stopped_run_goes_on(tiny, tmp_path):
    def train(config, name, **options):
        runner = build_runner(load_config(config, {"work_dir": str(tmp_path / name), **options}))
        runner.train()
        return runner

    runner = train(tiny(CONFIG, TINY), "whole")
    memory = runner.model.head.memory
    assert set(memory.cameras.tolist()) <= set(range(6))
    assert memory.parts.shape == (7, len(memory.clusters), 192)
    with pytest.raises(RuntimeError, match="stopped after epoch 2"):
        train(tiny(CONFIG, TINY + STOP, name="stopped"), "halves")
    train(tiny(CONFIG, TINY), "halves", resume=True)
    one, other = (
        torch.load(tmp_path / name / "epoch_3.pth", weights_only=False)["state_dict"]
        for name in ("whole", "halves")
    )
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def share_of_a_batch(rank, world_size):
    """Losses, memory and gradient of the first layer of a rank's share of the batch; the mean gradient of all ranks."""
    cfg = load_config(CONFIG, SMALL)
    model = bn_at_rest(build_model(cfg))
    images, samples = random_batch(cfg)
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
