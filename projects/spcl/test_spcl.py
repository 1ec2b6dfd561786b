"""SpCL: hand-checked numbers, slow loops, and a memory that lives through epochs, stops and several processes."""

import copy
import json
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from sklearn.cluster import DBSCAN

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.models.heads import ClusterMemoryHead
from mmreid_uda.neighbors import unit_rows
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.testing import build_model, random_batch
from mmreid_uda.utils import InputError
from projects.spcl.spcl import (
    HybridMemory,
    SelfPacedDBSCAN,
    guarded_cross_entropy,
    overlap_distance,
    with_singletons,
)

USL = "projects/spcl/configs/spcl_mbv2_synthb.py"
UDA = "projects/spcl/configs/spcl_mbv2_syntha2synthb.py"

# ---- memory and loss

ROWS = F.normalize(torch.tensor([[1, 0.1], [0.8, 0.6], [0.9, 0.7], [0.6, 0.9], [0.5, 0.8]]), dim=1)
LABELS = torch.tensor([0, 0, 1, 2, 2])
QUERIES = F.normalize(torch.tensor([[0.95, 0.5], [0.6, 0.7]]), dim=1)
OWN_ROWS = torch.tensor([1, 3])


def test_logits_loss_and_memory_of_the_worked_example():
    head = ClusterMemoryHead(dict(type="HybridMemory"), temperature=0.05)
    head.on_relabel(PseudoLabelState(0, LABELS, ROWS))
    logits = head.compare(QUERIES)
    expected = [[19.142525, 19.689056, 17.423467], [16.992975, 19.596842, 19.815008]]
    torch.testing.assert_close(logits, torch.tensor(expected), atol=1e-5, rtol=0)
    labels = LABELS[OWN_ROWS]
    each = [guarded_cross_entropy(z[None], y[None]).item() for z, y in zip(logits, labels)]
    assert each == pytest.approx([1.066942, 0.622442], abs=1e-5)
    assert guarded_cross_entropy(logits, labels).item() == pytest.approx(0.844692, abs=1e-5)

    head.memory.update(QUERIES, labels, OWN_ROWS)
    after = ROWS.clone()
    after[OWN_ROWS] = torch.tensor([[0.869692, 0.493595], [0.632309, 0.774717]])
    torch.testing.assert_close(head.memory.rows, after, atol=1e-5, rtol=0)


def slow_loss(features, labels, sources, rows, row_labels, temperature=0.05):
    """The paper's sums, class by class, with the guards of the released code."""
    losses = []
    for x, y in zip(features, labels.tolist()):
        weights = [torch.exp(x @ v / temperature) for v in sources]
        for k in range(int(row_labels.max()) + 1):
            own = [x @ v / temperature for v, label in zip(rows, row_labels) if label == k]
            weights.append(torch.exp(sum(own) / len(own)))
        losses.append(-torch.log(weights[y] / (sum(weights) + 1e-6) + 1e-6))
    return sum(losses) / len(losses)


def slow_update(bank, features, places, momentum=0.2):
    bank = bank.clone()
    for x, place in zip(features, places):
        bank[place] = F.normalize(momentum * bank[place] + (1 - momentum) * x, dim=0)
    return bank


def test_loss_gradient_and_both_updates_equal_slow_loops():
    generator = torch.Generator().manual_seed(2)
    rows, source = (
        F.normalize(torch.randn(n, 6, generator=generator), dim=1).double() for n in (9, 12)
    )
    row_labels = torch.tensor([0, 3, 0, 1, 2, 2, 4, 2, 0])  # two of them single images
    people = torch.tensor([2, 0, 1] * 4)
    head = ClusterMemoryHead(dict(type="HybridMemory"), temperature=0.05)
    head.memory.reset_source(source.float(), people)
    head.on_relabel(PseudoLabelState(0, row_labels, rows.float()))
    means = torch.stack([F.normalize(source[people == k].mean(0), dim=0) for k in range(3)])

    features = F.normalize(torch.randn(5, 6, generator=generator), dim=1)
    labels = torch.tensor([0, 3, 5, 7, 2])  # of all eight classes
    first, second = features.clone().requires_grad_(), features.double().requires_grad_()
    found = guarded_cross_entropy(head.compare(first), labels)
    expected = slow_loss(second, labels, means, rows, row_labels)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    gradients = torch.autograd.grad(found, first)[0], torch.autograd.grad(expected, second)[0]
    torch.testing.assert_close(gradients[0], gradients[1].float(), atol=1e-5, rtol=1e-5)

    drawn, persons = torch.tensor([4, 7, 4, 0, 8]), torch.tensor([1, 1, 2, 1, 2])
    head.memory.update(features, row_labels[drawn], drawn)
    head.memory.update_source(features, persons)
    for bank, before, places in (
        (head.memory.rows, rows, drawn),
        (head.memory.centroids, means, persons),
    ):
        expected = slow_update(before, features.double(), places).float()
        torch.testing.assert_close(bank, expected, atol=1e-6, rtol=0)


def test_both_domains_are_compared_with_the_memory_as_it_was():
    cfg = load_config(UDA)
    model = build_model(cfg)
    before = copy.deepcopy(model.head)
    images, samples = random_batch(cfg)
    losses = model(images, samples, mode="loss")
    out = model.encoder(images).normalized  # batch statistics: the same features again
    labels = samples.gt_label + before.memory.num_source * samples.domain
    for domain, name in enumerate(("loss_source", "loss_target")):
        part = samples.domain == domain
        expected = guarded_cross_entropy(before.compare(out[part]), labels[part])
        torch.testing.assert_close(losses[name], expected, atol=1e-5, rtol=1e-5)
    assert not torch.equal(model.head.memory.centroids[:2], before.memory.centroids[:2])
    assert torch.equal(model.head.memory.centroids[2:], before.memory.centroids[2:])
    moved = (model.head.memory.rows != before.memory.rows).any(1).nonzero().flatten()
    assert moved.tolist() == [0, 1, 4, 5]


def test_a_memory_of_another_size_loads():
    saved = HybridMemory()
    saved.reset_source(ROWS, LABELS)
    saved.reset(PseudoLabelState(0, LABELS, ROWS))
    loaded = HybridMemory()
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(loaded.prototypes, saved.prototypes) and loaded.num_source == 3


# ---- self-paced clusters


def slow_overlap(labels, others):
    """1 - |A ∩ B| / |A ∪ B| with sets of images."""
    sets = [
        [{j for j, label in enumerate(one) if label == own} for own in one]
        for one in (labels, others)
    ]
    return [1 - len(a & b) / len(a | b) for a, b in zip(*sets)]


def test_compactness_and_independence_of_the_worked_example():
    labels, tight, loose = map(
        np.array, ([0, 0, 0, 1, 1, 2], [0, 0, 1, 2, 2, 3], [0, 0, 0, 0, 0, 1])
    )
    assert overlap_distance(labels, tight) == pytest.approx([1 / 3, 1 / 3, 2 / 3, 0, 0, 0])
    assert overlap_distance(labels, loose) == pytest.approx([0.4, 0.4, 0.4, 0.6, 0.6, 0])


def test_overlaps_equal_sets_and_never_take_a_table_of_all_pairs():
    rng = np.random.default_rng(0)
    labels, others = with_singletons(rng.integers(-1, 9, 60)), rng.integers(0, 7, 60)
    assert overlap_distance(labels, others) == pytest.approx(slow_overlap(labels, others))
    many = rng.integers(0, 50_000, (2, 200_000))  # a table of these images would take 320 GB
    assert overlap_distance(*many).shape == (200_000,)


def slow_refinement(labels, tight, loose, threshold=None):
    """Classes of images after the rules of the released code, and the threshold."""
    compact, independent = slow_overlap(labels, tight), slow_overlap(labels, loose)
    members = {k: [i for i, label in enumerate(labels) if label == k] for k in set(labels.tolist())}
    of_cluster = {k: min(independent[i] for i in own) for k, own in members.items()}
    if threshold is None:
        several = sorted(of_cluster[k] for k, own in members.items() if len(own) > 1)
        threshold = several[min(len(several) - 1, int(np.round(0.9 * len(several))))]
    classes = []
    for k, own in members.items():
        least = min(compact[i] for i in own)
        kept = [i for i in own if of_cluster[k] <= threshold and compact[i] <= least]
        classes += [frozenset(kept)] * bool(kept) + [frozenset([i]) for i in own if i not in kept]
    return set(classes), threshold


def classes_of(labels):
    return {frozenset(np.flatnonzero(labels == k).tolist()) for k in np.unique(labels)}


def people(num, ids, noise, seed):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((ids, 16))
    return unit_rows(centers[rng.integers(0, ids, num)] + noise * rng.standard_normal((num, 16)))


def test_self_paced_clusters_equal_the_rules_on_dense_distances():
    clusterer = SelfPacedDBSCAN(eps=0.5, eps_gap=0.1, min_samples=3, k1=8, k2=3)
    threshold = None
    for epoch, noise in enumerate((0.9, 0.7)):
        features = people(150, 15, noise, epoch)
        found = clusterer(features, seed=0, epoch=epoch)
        distances = np.ones((150, 150))
        graph = clusterer.graph(features, 0.99, 0, clusterer.prepare(features)["neighbors"])
        coo = graph.tocoo()
        distances[coo.row, coo.col] = coo.data
        three = [
            with_singletons(DBSCAN(eps=eps, min_samples=3, metric="precomputed").fit(distances).labels_)
            for eps in (0.5, 0.4, 0.6)
        ]  # fmt: skip
        expected, threshold = slow_refinement(*three, threshold)
        assert classes_of(found) == expected
        assert clusterer.threshold == pytest.approx(threshold)
        assert expected != classes_of(three[0]), "nothing was refined"
        sizes = Counter(map(len, expected))
        assert clusterer.info["singletons"] == sizes[1] > 0
        assert clusterer.info["groups"] == len(expected) - sizes[1] > 0


def test_the_threshold_is_of_the_first_epoch_and_survives_a_stop():
    clusterer = SelfPacedDBSCAN(eps=0.5, eps_gap=0.1, min_samples=3, k1=8, k2=3)
    hard, easy = people(150, 15, 0.9, 0), people(150, 15, 0.5, 1)
    clusterer(easy, seed=0, epoch=0)
    of_easy = clusterer.threshold
    clusterer(hard, seed=0, epoch=0)  # a second attempt of the same epoch
    of_hard = clusterer.threshold
    assert of_hard != of_easy
    resumed = SelfPacedDBSCAN(eps=0.5, eps_gap=0.1, min_samples=3, k1=8, k2=3)
    resumed.load_state_dict(json.loads(json.dumps(clusterer.state_dict())))
    labels = [one(easy, seed=0, epoch=1) for one in (clusterer, resumed)]
    assert clusterer.threshold == resumed.threshold == of_hard
    assert labels[0].tolist() == labels[1].tolist()
    # So do the lists that the next search starts from.
    warm = [SelfPacedDBSCAN(k1=8, k2=3, search="ivf", warm_start=True) for _ in range(2)]
    warm[0](hard, seed=0, epoch=0)
    warm[1].load_state_dict(warm[0].state_dict())
    assert warm[1].last_found.tolist() == warm[0].last_found.tolist()


def test_images_without_any_cluster_are_classes_of_their_own():
    clusterer = SelfPacedDBSCAN(min_samples=21, k1=4, k2=2)
    labels = clusterer(people(20, 20, 0.1, 0), seed=0, epoch=0)
    assert sorted(labels) == list(range(20)) and clusterer.threshold is None


def test_radii_that_do_not_fit_are_one_sentence():
    with pytest.raises(InputError, match=r"eps_gap=0\.7"):
        SelfPacedDBSCAN(eps=0.6, eps_gap=0.7)


# ---- life cycle

PEOPLE = "num_train_ids=12, num_test_ids=6, images_per_id=6"
TINY = f"""
source = dict(_delete_=True, name="syntha", {PEOPLE})
test = [dict(name="synthb", {PEOPLE})]
iters_per_epoch = 2
train_cfg = dict(max_epochs=3, val_interval=3)
default_hooks["report"] = None
default_hooks["checkpoint"]["save_best"] = None
"""
STOP = """
custom_imports = dict(imports=["projects.spcl.spcl", "tests.e2e.stop_hook"])
custom_hooks = [dict(type="StopAfterEpoch", epoch=2)]
"""


class WatchMemory(Hook):
    """Keeps what the memory and the labels are when an epoch begins and ends."""

    priority = "LOWEST"

    def __init__(self):
        self.begun, self.ended, self.labels = [], [], []

    def before_train_epoch(self, runner):
        self.begun.append(runner.model.head.memory.rows)
        self.labels.append(runner.train_dataloader.dataset.target.labels.clone())

    def after_train_epoch(self, runner):
        self.ended.append(runner.model.head.memory.rows)


@pytest.mark.slow
def test_the_memory_lives_through_epochs_and_a_stop(tiny, tmp_path):
    def runner_of(config, name, **options):
        return build_runner(load_config(config, {"work_dir": str(tmp_path / name), **options}))

    whole, watch = runner_of(tiny(UDA, TINY), "whole"), WatchMemory()
    whole.register_hook(watch)
    whole.train()
    memory = whole.model.head.memory
    assert memory.num_source == 12 and len(memory.rows) == len(watch.labels[0])
    assert all((labels >= 0).all() for labels in watch.labels), "an image was left out"
    for epoch in (1, 2):
        torch.testing.assert_close(watch.begun[epoch], watch.ended[epoch - 1], atol=1e-6, rtol=0)
        assert not torch.equal(watch.ended[epoch], watch.begun[epoch])
    assert torch.equal(memory.labels, watch.labels[2])

    with pytest.raises(RuntimeError, match="stopped after epoch 2"):
        runner_of(tiny(UDA, TINY + STOP, name="stopped"), "halves").train()
    runner_of(tiny(UDA, TINY), "halves", resume=True).train()
    first, second = (
        torch.load(tmp_path / name / "epoch_3.pth", weights_only=False)
        for name in ("whole", "halves")
    )
    assert first["pseudo_labels"]["clusterer"] == second["pseudo_labels"]["clusterer"]
    assert torch.equal(first["pseudo_labels"]["labels"], second["pseudo_labels"]["labels"])
    assert first["state_dict"].keys() == second["state_dict"].keys()
    different = [
        name
        for name, tensor in first["state_dict"].items()
        if not torch.equal(tensor, second["state_dict"][name])
    ]
    assert different == [] and torch.equal(first["state_dict"]["head.memory.rows"], memory.rows)


@pytest.mark.slow
def test_a_run_without_a_source_forgets_that_of_the_checkpoint_it_starts_from(tiny, tmp_path):
    short = """
iters_per_epoch = 1
train_cfg = dict(max_epochs=1, val_interval=2)
default_hooks["report"] = default_hooks["checkpoint"] = None
"""
    saved = tmp_path / "uda.pth"
    options = {"work_dir": str(tmp_path / "run"), "load_from": str(saved)}
    runner = build_runner(load_config(tiny(USL, short), options))
    people = F.normalize(torch.randn(5, 1280, generator=torch.Generator().manual_seed(0)), dim=1)
    runner.model.head.memory.reset_source(people, LABELS)
    torch.save(dict(state_dict=runner.model.state_dict()), saved)
    runner.train()
    memory = runner.model.head.memory
    assert memory.num_source == 0 and len(memory.prototypes) == memory.labels.max() + 1


def share_of_a_batch(rank, world_size):
    """Losses, memory and gradient of the first layer of a rank's share of the batch; the mean gradient of all ranks."""
    cfg = load_config(UDA)
    model = build_model(cfg)
    model.encoder.eval()  # the same features on any number of ranks
    images, samples = random_batch(cfg)
    own = torch.arange(len(images)).view(2, world_size, -1)[:, rank].flatten()
    losses = model(images[own], samples[own], mode="loss")
    sum(losses.values()).backward()
    gradient = next(model.encoder.parameters()).grad
    if world_size > 1:
        torch.distributed.all_reduce(gradient)
    values = [
        *losses.values(), model.head.memory.rows, model.head.memory.centroids, gradient / world_size
    ]  # fmt: skip
    return [value.detach().numpy() for value in values]


@pytest.mark.slow
def test_two_ranks_are_one_rank(run_ranks):
    expected = share_of_a_batch(0, 1)
    for found in run_ranks(share_of_a_batch, args=(2,)):
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
