"""NCPLR: published and hand-checked numbers, slow loops, and soft labels that live through epochs, stops and two
processes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from scipy import sparse
from sklearn.cluster import DBSCAN

from mmreid_uda.clustering import EvidenceClustering, JaccardDBSCAN
from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.neighbors import CameraLists, jaccard_graph, unit_rows
from mmreid_uda.registry import HOOKS
from mmreid_uda.structures import Evidence, PseudoLabelState
from mmreid_uda.testing import build_model, random_batch
from mmreid_uda.utils import InputError
from projects.ncplr.global_local import GlobalLocalDBSCAN, mix_labels
from projects.ncplr.ncplr import NeighborTable, neighbor_weights, refined_cross_entropy

CONFIG = "projects/ncplr/configs/ncplr_mbv2_synthb.py"
GLOBAL_LOCAL = "projects/ncplr/configs/ncplr-gl_mbv2_synthb.py"
SIGNS = dict(none=0, farther=1, nearer=-1)

# ---- the example: three images in a chain of neighbours

LOGITS = torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 2]])
LABELS = torch.tensor([0, 0, 2])
CHAIN = torch.tensor([[0, 0.15, np.inf], [0.15, 0, 0.18], [np.inf, 0.18, 0]])


def test_targets_and_losses_of_the_worked_example():
    q = neighbor_weights(CHAIN, 0, 1.0) @ LOGITS.softmax(1)
    targets = 0.1 * F.one_hot(LABELS, 3) + 0.9 * q
    expected = [
        [0.644187, 0.237972, 0.117841],
        [0.494744, 0.190600, 0.314657],
        [0.237972, 0.237972, 0.524057],
    ]
    torch.testing.assert_close(targets, torch.tensor(expected), atol=1e-5, rtol=0)
    loss = refined_cross_entropy(LOGITS, LABELS, q, 0.1)
    assert loss.item() == pytest.approx(1.106418, abs=1e-5)
    q = neighbor_weights(CHAIN, 1, 1.0) @ LOGITS.softmax(1)
    loss = refined_cross_entropy(LOGITS, LABELS, q, 0.1)
    assert loss.item() == pytest.approx(1.135805, abs=1e-5)


# ---- slow loops


def random_graph(num, seed=0, share=0.2):
    """Symmetric distances up to 0.2 of some pairs, zeros on the diagonal; as a table and dense, inf where none."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((num, num)) < share, rng.random((num, num)) * 0.2, np.inf)
    dense = np.minimum(dense, dense.T).astype(np.float32)
    np.fill_diagonal(dense, 0)
    rows, columns = np.nonzero(np.isfinite(dense))
    graph = sparse.csr_array((dense[rows, columns], (rows, columns)), shape=dense.shape)
    graph.sort_indices()
    return graph, dense


def test_neighbors_in_a_batch_are_those_of_the_matrix_each_image_once():
    graph, dense = random_graph(40)
    table = NeighborTable()
    table.reset(graph)
    index = torch.tensor([5, 39, 0, 5, 17, 0, 5, 38])
    found = table.among(index)
    expected = torch.from_numpy(dense[index][:, index])
    expected[:, [3, 5, 6]] = torch.inf  # seen before
    assert torch.equal(found, expected)
    loaded = NeighborTable()
    loaded.load_state_dict(table.state_dict())
    assert torch.equal(loaded.among(index), expected)


def slow_soft_labels(z, dense, index, sign, temperature):
    """q of each image, one after the other."""
    first = {int(image): place for place, image in reversed(list(enumerate(index)))}
    rows = []
    for image in index.tolist():
        near = [(j, float(dense[image, other])) for other, j in first.items()]
        near = [(j, distance) for j, distance in near if distance <= 0.2]
        weights = [np.exp(sign * distance / temperature) for _, distance in near]
        total = sum(weights)
        rows.append(sum(w / total * torch.softmax(z[j], 0) for w, (j, _) in zip(weights, near)))
    return torch.stack(rows).detach()


def slow_refined(z, y, q, alpha):
    total = 0
    for i, label in enumerate(y.tolist()):
        log = torch.log(torch.exp(z[i]) / torch.exp(z[i]).sum())
        target = [(1 - alpha) * q[i, c] + (alpha if c == label else 0) for c in range(z.shape[1])]
        total = total - sum(t * log[c] for c, t in enumerate(target))
    return total / len(y)


def slow_contrast(x, y, memory):
    logits = [[x[i] @ row / 0.05 for row in memory] for i in range(len(x))]
    terms = [torch.stack(row).logsumexp(0) - row[int(label)] for row, label in zip(logits, y)]
    return sum(terms) / len(y)


def batch_of(labels, generator):
    index = torch.randperm(len(labels), generator=generator)[:20]
    index = torch.cat([index, index[:3]])
    index = index[labels[index] >= 0]
    return index, SimpleNamespace(sample_idx=index, gt_label=labels[index])


@pytest.mark.parametrize("weigh", SIGNS)
def test_losses_and_gradient_equal_slow_loops(weigh):
    generator = torch.Generator().manual_seed(0)
    model = build_model(load_config(CONFIG, {"model.weigh": weigh, "model.temperature": 0.1}))
    features = F.normalize(torch.randn(40, 1280, generator=generator), dim=1)
    labels = torch.randint(-1, 5, (40,), generator=generator)
    graph, dense = random_graph(40)
    asked = []
    state = PseudoLabelState(0, labels, features, distances=lambda d: asked.append(d) or graph)
    model.on_relabel(state)
    assert asked == [0.2] and state.statistics["neighbors"] == graph.nnz / 40
    rows = torch.stack([F.normalize(features[labels == k].mean(0), dim=0) for k in range(5)])
    torch.testing.assert_close(model.classifier.weight.data[0], rows)

    index, samples = batch_of(labels, generator)
    x = torch.randn(len(index), 1280, generator=generator).requires_grad_()
    losses = model.loss_target(EncoderOutput(x, x), samples)
    weight = model.classifier.weight
    found = torch.autograd.grad(sum(losses.values()), [x, weight])

    z = x @ weight[0].T
    q = slow_soft_labels(z, dense, index, SIGNS[weigh], 0.1)
    expected = dict(
        loss_contrast=slow_contrast(F.normalize(x, dim=1), samples.gt_label, rows),
        loss_refined=slow_refined(z, samples.gt_label, q, 0.1),
    )
    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(found, torch.autograd.grad(sum(expected.values()), [x, weight])):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


# ---- whole and halves


def slow_divergence(p, q):
    return sum(a * torch.log(a / b) for a, b in zip(p, q))


def slow_mix(q, up, down, temperature):
    """Image by image: the labels of the whole and of both halves."""
    mixed = []
    for g, u, d in zip(q, up, down):
        e_u, e_d = (torch.exp(-slow_divergence(g, part) / temperature) for part in (u, d))
        f_u, f_d = (torch.exp(-slow_divergence(part, g) / temperature) for part in (u, d))
        whole = (g + e_u * u + e_d * d) / (1 + e_u + e_d)
        mixed.append(torch.stack([whole, (u + f_u * g) / (1 + f_u), (d + f_d * g) / (1 + f_d)]))
    return torch.stack(mixed, 1)


def test_mixed_labels_are_labels_and_alike_ones_stay():
    q = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0)).mul(3).softmax(2)
    mixed = mix_labels(q, 5.0)
    torch.testing.assert_close(mixed, slow_mix(*q, 5.0))
    torch.testing.assert_close(mixed.sum(2), torch.ones(3, 6))
    same = q[:1].expand(3, -1, -1)
    torch.testing.assert_close(mix_labels(same, 5.0), same)


def test_global_local_losses_and_gradient_equal_slow_loops():
    generator = torch.Generator().manual_seed(0)
    model = build_model(load_config(GLOBAL_LOCAL))
    rows = F.normalize(torch.randn(40, 3, 1280, generator=generator), dim=2)
    labels = torch.randint(-1, 5, (40,), generator=generator)
    graph, dense = random_graph(40)
    images = SimpleNamespace(target=None)
    features = model.cluster_features(lambda network, dataset: rows.flatten(1), images)
    assert torch.equal(features, rows[:, 0])
    assert torch.equal(model.upper_features(None, images), rows[:, 1])
    assert torch.equal(model.lower_features(None, images), rows[:, 2])
    model.on_relabel(PseudoLabelState(0, labels, features, distances=lambda limit: graph))
    centers = F.normalize(
        torch.stack([rows[labels == k].mean(0) for k in range(5)]).transpose(0, 1), dim=2
    )

    index, samples = batch_of(labels, generator)
    pooled, x = torch.randn(2, len(index), 3 * 1280, generator=generator).requires_grad_()
    losses = model.loss_target(EncoderOutput(pooled, x), samples)
    found = torch.autograd.grad(sum(losses.values()), x)[0]

    parts = [x[:, 1280 * b : 1280 * (b + 1)] for b in range(3)]
    z = [part @ center.T for part, center in zip(parts, centers)]
    q = slow_mix(*(slow_soft_labels(one, dense, index, 1, 1.0) for one in z), 5.0)
    expected = {}
    for b, (name, share, alpha) in enumerate(
        [("whole", 0.8, 0.1), ("upper", 0.2, 0.3), ("lower", 0.2, 0.3)]
    ):
        contrast = slow_contrast(F.normalize(parts[b], dim=1), samples.gt_label, centers[b])
        expected[f"loss_contrast_{name}"] = share * contrast
        refined = slow_refined(z[b], samples.gt_label, q[b], alpha)
        expected[f"loss_refined_{name}"] = share * refined
    torch.testing.assert_close(losses, expected, atol=1e-5, rtol=1e-5)
    slow = torch.autograd.grad(sum(expected.values()), x)[0]
    torch.testing.assert_close(found, slow, atol=1e-5, rtol=1e-4)


def test_halves_are_pooled_apart_and_the_whole_alone_is_tested():
    encoder = build_model(load_config(GLOBAL_LOCAL, {"encoder.pool.type": "GeM"})).encoder
    with torch.no_grad():
        for p, pool in zip((1, 3, 6), (encoder.pool, *encoder.part_pools)):
            pool.p.fill_(p)
    images = torch.randn(4, 3, 144, 64, generator=torch.Generator().manual_seed(0))
    encoder.eval()
    maps = encoder.backbone(images).clamp(min=1e-6)
    assert maps.shape[2] == 9
    expected = [
        part.pow(p).mean((2, 3)).pow(1 / p)
        for p, part in ((1, maps), (3, maps[:, :, :4]), (6, maps[:, :, 4:]))
    ]
    out = encoder.whole_and_halves(images)
    torch.testing.assert_close(out.pooled, torch.cat(expected, 1), atol=1e-5, rtol=1e-4)
    assert all(torch.equal(a, b[:, :1280]) for a, b in zip(encoder(images), out))
    assert encoder.train()(images).embedding.shape == (4, 3 * 1280)


def test_a_backbone_without_maps_has_no_halves():
    encoder = build_model(load_config(GLOBAL_LOCAL)).encoder
    encoder.backbone.forward = lambda x: x.mean((2, 3))
    with pytest.raises(InputError, match=r"found MobileNetV2 in a GlobalLocalEncoder.*one map"):
        encoder.whole_and_halves(torch.zeros(2, 3, 64, 32))


def people(num, each, noise, rng):
    return unit_rows(
        np.repeat(rng.standard_normal((num, 16)), each, 0)
        + noise * rng.standard_normal((num * each, 16))
    )


@pytest.mark.parametrize("cameras", [None, np.arange(60) % 3], ids=["plain", "cameras"])
def test_mixed_distances_and_their_clusters_equal_the_sum_of_dense_ones(cameras):
    rng = np.random.default_rng(0)
    rows = [people(10, 6, noise, rng) for noise in (0.6, 0.9, 0.9)]
    lists = CameraLists(k2_intra=3, k2_inter=3)
    dense = np.zeros((60, 60))
    for share, one in zip((0.6, 0.2, 0.2), rows):
        graph = jaccard_graph(one, 8, 3, cameras=cameras, camera_lists=lists).tocoo()
        whole = np.ones((60, 60))
        whole[graph.row, graph.col] = graph.data
        dense += share * whole
    clusterer = GlobalLocalDBSCAN(eps=0.5, min_samples=3, k1=8, k2=3)
    options = dict(seed=0, epoch=0, upper_features=rows[1], lower_features=rows[2], cameras=cameras)
    for limit in (0.2, 0.5, 0.95):
        found = clusterer.distances(rows[0], limit, **options)
        np.testing.assert_array_equal(
            found.toarray() != 0, (dense <= limit) & (found.toarray() > 0)
        )
        stored = found.tocoo()
        assert found.nnz == (dense <= limit + 1e-7).sum() and (found.diagonal() == 0).all()
        np.testing.assert_allclose(stored.data, dense[stored.row, stored.col], atol=1e-6)
    expected = DBSCAN(eps=0.5, min_samples=3, metric="precomputed").fit_predict(dense.clip(0))
    labels = clusterer(rows[0], **options)
    np.testing.assert_array_equal(labels, expected)
    assert 5 < labels.max() < 15


def test_what_a_search_has_missed_and_starts_from_is_that_of_the_whole():
    rng = np.random.default_rng(0)
    rows = [people(200, 6, noise, rng) for noise in (0.9, 2.0, 2.0)]
    parts = dict(upper_features=rows[1], lower_features=rows[2])
    options = dict(k1=8, k2=3, search="ivf", nprobe=2, warm_start=True)
    clusterer, plain = GlobalLocalDBSCAN(**options), JaccardDBSCAN(**options)
    clusterer(rows[0], seed=0, epoch=0, **parts)
    plain(rows[0], seed=0, epoch=0)
    assert clusterer.info["search_recall"] == plain.info["search_recall"] < 1
    np.testing.assert_array_equal(clusterer.last_found, plain.last_found)


def test_halves_of_a_tracklet_are_put_together_like_the_whole():
    rng = np.random.default_rng(0)
    rows = [people(10, 6, noise, rng) for noise in (0.6, 0.9, 0.9)]
    evidence = Evidence(np.zeros(60), tracklets=np.arange(60) // 2)
    clustering = EvidenceClustering(
        GlobalLocalDBSCAN(min_samples=2, k1=6, k2=2), tracklets=True, cut_tracklets=None
    )
    parts = dict(upper_features=rows[1], lower_features=rows[2])
    labels = clustering(clustering.prepare(rows[0], evidence), seed=0, epoch=0, **parts)
    pooled = [unit_rows(one.reshape(30, 2, -1).mean(1)) for one in rows]
    expected = clustering.clusterer(
        pooled[0], seed=0, epoch=0, upper_features=pooled[1], lower_features=pooled[2]
    )
    np.testing.assert_array_equal(labels, np.repeat(expected, 2))


def test_parts_cannot_outweigh_the_whole():
    with pytest.raises(InputError, match=r"part_weight=0\.6 for GlobalLocalDBSCAN"):
        GlobalLocalDBSCAN(part_weight=0.6)


@pytest.mark.parametrize("config", [CONFIG, GLOBAL_LOCAL], ids=["plain", "global-local"])
def test_a_clusterer_without_distances_is_refused_when_the_run_starts(config):
    linkage = dict(_delete_=True, type="ConstrainedLinkage")
    hook = load_config(config, {"clusterer": linkage}).default_hooks.cluster
    with pytest.raises(InputError, match="found ConstrainedLinkage, which makes no graph"):
        HOOKS.build(hook)


# ---- life cycle

# Labels stay for three epochs, so a run that goes on within them needs the neighbours of the one before.
TINY = """
test = [dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)]
iters_per_epoch = 2
train_cfg = dict(max_epochs=4, val_interval=4)
default_hooks["cluster"] = dict(interval=3)
default_hooks["report"] = None
default_hooks["checkpoint"]["save_best"] = None
"""
STOP = """
custom_imports = dict(imports=[{module!r}, "tests.e2e.stop_hook"])
custom_hooks = [dict(type="StopAfterEpoch", epoch=2)]
"""


class WatchNeighbors(Hook):
    """Compares the neighbours that the model knows with the distances of the features that were clustered."""

    priority = "LOWEST"

    def before_train_epoch(self, runner):
        self.pairs = len(runner.model.neighbors.pairs)


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, GLOBAL_LOCAL], ids=["plain", "global-local"])
def test_a_stopped_run_goes_on_with_the_neighbors_it_had(tiny, tmp_path, config):
    def train(config, name, **options):
        runner = build_runner(load_config(config, {"work_dir": str(tmp_path / name), **options}))
        watch = WatchNeighbors()
        runner.register_hook(watch)
        runner.train()
        return watch

    watch = train(tiny(config, TINY), "whole")
    with np.load(tmp_path / "whole" / "pseudo_labels" / "epoch_004.npz") as saved:
        neighbors = json.loads(str(saved["statistics"]))["neighbors"]
    assert neighbors == watch.pairs / 76 > 1
    module = load_config(config).custom_imports["imports"][-1]
    with pytest.raises(RuntimeError, match="stopped after epoch 2"):
        train(tiny(config, TINY + STOP.format(module=module), name="stopped"), "halves")
    train(tiny(config, TINY), "halves", resume=True)
    first, second = (
        torch.load(tmp_path / name / "epoch_4.pth", weights_only=False)["state_dict"]
        for name in ("whole", "halves")
    )
    assert first.keys() == second.keys() and "neighbors.pairs" in first
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def share_of_a_batch(rank, world_size, config):
    """Losses, classifier's gradient, memory and gradient of the first layer of a rank's share of the batch."""
    cfg = load_config(config)
    model = build_model(cfg)
    # The same features on any number of ranks.
    for module in model.encoder.modules():
        if "Norm" in type(module).__name__ or "BN" in type(module).__name__:
            module.eval()
    images, samples = random_batch(cfg)
    samples.sample_idx = torch.tensor([0, 4, 0, 5])  # one image is there twice, on two ranks
    samples.gt_label = samples.sample_idx % 4
    own = torch.arange(len(images)).view(world_size, -1)[rank]
    losses = model(images[own], samples[own], mode="loss")
    sum(losses.values()).backward()
    gradient = next(model.encoder.parameters()).grad
    if world_size > 1:
        torch.distributed.all_reduce(gradient)
    rows = model.classifier.weight.grad
    values = [*losses.values(), rows, model.head.memory.prototypes, gradient / world_size]
    return [value.detach().numpy() for value in values]


def shares_of_a_batch(rank, world_size):
    configs = CONFIG, GLOBAL_LOCAL
    return [value for one in configs for value in share_of_a_batch(rank, world_size, one)]


@pytest.mark.slow
def test_two_ranks_are_one_rank(run_ranks):
    expected = shares_of_a_batch(0, 1)
    for found in run_ranks(shares_of_a_batch, args=(2,)):
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
