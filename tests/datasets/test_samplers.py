"""Identity sampling of METHODS section 1.2, and plans that ranks, workers and resumes share."""

import time
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmreid_uda.config import load_config
from mmreid_uda.datasets import CrossDomainDataset, FolderReIDDataset
from mmreid_uda.datasets.samplers import DomainBatchSampler, distinct_plan, identity_plan
from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.registry import DATA_SAMPLERS
from mmreid_uda.utils import InputError, make_rng


def slow_plan(labels, camids, num_instances, rng, use_cameras=True):
    """METHODS section 1.2, written as the loop it describes."""
    plan = []
    for pid in rng.permutation(np.unique(labels[labels >= 0])):
        images = [index for index in range(len(labels)) if labels[index] == pid]
        anchor = images[rng.integers(len(images))]
        plan.append(anchor)
        others = [index for index in images if index != anchor]
        candidates = [index for index in others if camids[index] != camids[anchor]]
        if not candidates or not use_cameras:
            candidates = others
        if not candidates:
            continue
        replace = len(candidates) < num_instances
        plan += rng.choice(candidates, num_instances - 1, replace=replace).tolist()
    return plan


def runs(plan, labels):
    """Cut a pass where the identity changes."""
    cuts = np.flatnonzero(np.diff(labels[plan])) + 1
    return np.split(plan, cuts)


# Identity 0: two cameras; 1: one image; 2: one camera; 3: two images, two cameras; the last three images: outliers.
LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 3, -1, -1, -1])
CAMIDS = np.array([0, 0, 1, 1, 1, 1, 0, 5, 5, 5, 5, 5, 0, 1, 0, 1, 2])


# ---------------------------------------------------------------- one pass


@pytest.mark.parametrize("num_instances", [1, 2, 4, 5])
@pytest.mark.parametrize("use_cameras", [True, False])
def test_pass_follows_the_rules(num_instances, use_cameras):
    for seed in range(200):
        rng = make_rng(seed)
        plan = identity_plan(LABELS, CAMIDS, num_instances, rng, use_cameras)
        parts = runs(plan, LABELS)
        assert sorted(LABELS[part[0]] for part in parts) == [0, 1, 2, 3]
        for part in parts:
            anchor, followers = part[0], part[1:].tolist()
            same = set(np.flatnonzero(LABELS[anchor] == LABELS)) - {anchor}
            other_camera = {index for index in same if CAMIDS[index] != CAMIDS[anchor]}
            candidates = other_camera if use_cameras and other_camera else same
            assert len(followers) == (num_instances - 1 if candidates else 0)
            assert set(followers) <= candidates
            if len(candidates) >= num_instances:
                assert len(set(followers)) == len(followers)


def test_replacement_is_decided_by_num_instances_not_by_one_less():
    """Three candidates for three places: the papers draw with replacement, so repetitions occur."""
    labels, camids = np.zeros(4, dtype=int), np.arange(4)
    plans = [identity_plan(labels, camids, 4, make_rng(seed)) for seed in range(100)]
    distinct = [len(set(plan[1:].tolist())) for plan in plans]
    assert min(distinct) < 3
    plans = [identity_plan(labels, camids, 3, make_rng(seed)) for seed in range(100)]
    assert all(len(set(plan[1:].tolist())) == 2 for plan in plans)


@pytest.mark.parametrize("use_cameras", [True, False])
def test_draws_are_distributed_as_in_the_slow_loop(use_cameras):
    def frequencies(function):
        counts, rng = Counter(), make_rng(7, function.__name__)
        for _ in range(3000):
            for part in runs(np.array(function(LABELS, CAMIDS, 3, rng, use_cameras)), LABELS):
                counts[tuple(part)] += 1
        return counts

    fast, slow = frequencies(identity_plan), frequencies(slow_plan)
    assert set(fast) == set(slow)
    for draw in fast:
        # Two Poisson counts differ by less than five standard deviations.
        assert abs(fast[draw] - slow[draw]) < 5 * np.sqrt(fast[draw] + slow[draw])


def slow_distinct_plan(labels, num_instances, rng):
    """PTL's loop: images of a person, the list repeated where it is too short."""
    plan = []
    for pid in rng.permutation(np.unique(labels[labels >= 0])):
        images = [index for index in range(len(labels)) if labels[index] == pid]
        if len(images) < num_instances:
            images *= num_instances
        plan += [images[place] for place in rng.permutation(len(images))[:num_instances]]
    return plan


@pytest.mark.parametrize("num_instances", [2, 3, 5])
def test_distinct_draws_are_distributed_as_in_the_slow_loop(num_instances):
    def frequencies(function):
        counts, rng = Counter(), make_rng(7, function.__name__)
        for _ in range(3000):
            plan = np.array(function(LABELS, num_instances, rng)).reshape(4, num_instances)
            assert sorted(LABELS[plan[:, 0]]) == [0, 1, 2, 3]
            assert (LABELS[plan] == LABELS[plan[:, :1]]).all()
            counts.update(("first", one) for one in plan[:, 0])
            counts.update(tuple(sorted(part)) for part in plan)
        return counts

    fast, slow = frequencies(distinct_plan), frequencies(slow_distinct_plan)
    assert set(fast) == set(slow)
    for draw in fast:
        assert abs(fast[draw] - slow[draw]) < 5 * np.sqrt(fast[draw] + slow[draw])


@pytest.mark.parametrize("config", ["mgn-ptl_r50_market", "mgn_r50_duke", "ptl_mbv2_synthb"])
def test_ptl_shows_four_images_of_a_person_who_has_four(config):
    options = load_config(config).train_dataloader.batch_sampler
    dataset = FakeData(source=48, target=0)
    dataset.labels = torch.arange(48) // 4
    options = {**options, "type": "DomainBatchSampler", "batch_size": 16, "iters_per_epoch": 3}
    sampler = DATA_SAMPLERS.build(options, default_args=dict(sampler=make_sampler(dataset).sampler))
    people = {frozenset(row) for row in np.array(list(sampler)).reshape(12, 4).tolist()}
    assert people == {frozenset(range(start, start + 4)) for start in range(0, 48, 4)}


def test_distinct_images_and_cameras_do_not_go_together():
    with pytest.raises(InputError, match="distinct=True with use_cameras=True"):
        make_sampler(FakeData(), distinct=True)
    assert distinct_plan(np.full(5, -1), 4, make_rng(0)).size == 0


def test_order_of_identities_is_uniform():
    first = Counter(
        int(LABELS[identity_plan(LABELS, CAMIDS, 4, make_rng(seed))[0]]) for seed in range(2000)
    )
    assert set(first) == {0, 1, 2, 3}
    assert all(abs(count - 500) < 5 * np.sqrt(500 * 0.75) for count in first.values())


def test_no_labels_give_an_empty_pass():
    assert identity_plan(np.full(5, -1), np.zeros(5), 4, make_rng(0)).size == 0


def test_a_pass_over_market_is_fast():
    rng = make_rng(0)
    labels, camids = rng.integers(-1, 700, 13000), rng.integers(0, 6, 13000)
    start = time.process_time()
    for _ in range(5):
        identity_plan(labels, camids, 16, rng)
    assert (time.process_time() - start) / 5 < 0.05


# ---------------------------------------------------------------- plans of an epoch


class FakeData(Dataset):
    """120 source images of 12 identities and 200 target images, as CrossDomainDataset shows them."""

    def __init__(self, source=120, target=200, hidden=False):
        self.domains = np.repeat([0, 1], [source, target])
        target_labels = torch.full((target,), -1) if hidden else torch.arange(target) // 10
        self.labels = torch.cat([torch.arange(source) // 10, target_labels])
        self.camids = np.arange(source + target) % 4

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return dict(index=int(index), seed=index.seed)


def make_sampler(dataset, rank=0, world_size=1, seed=3, epoch=0, **options):
    sampler = DefaultSampler(dataset, shuffle=False, seed=seed)
    sampler.rank, sampler.world_size = rank, world_size
    sampler.set_epoch(epoch)
    options = {"batch_size": 16, "num_instances": 4, "iters_per_epoch": 7} | options
    return DomainBatchSampler(sampler, **options)


def epoch_plan(*args, **options):
    """Indices and augmentation seeds of an epoch: two arrays (iters, images per batch)."""
    batches = list(make_sampler(*args, **options))
    return np.array(batches), np.array([[one.seed for one in batch] for batch in batches])


def test_batches_are_source_then_target_in_blocks_of_one_identity():
    dataset = FakeData()
    indices, _ = epoch_plan(dataset)
    assert indices.shape == (7, 32)
    assert (dataset.domains[indices] == np.repeat([0, 1], 16)).all()
    blocks = dataset.labels.numpy()[indices].reshape(7, 8, 4)
    assert (blocks == blocks[..., :1]).all()
    for batch in blocks[..., 0]:
        assert len(set(batch[:4])) == 4 and len(set(batch[4:])) == 4  # P distinct identities


def test_equal_seed_and_epoch_give_the_equal_plan_and_others_differ():
    first, again = epoch_plan(FakeData(), epoch=5), epoch_plan(FakeData(), epoch=5)
    np.testing.assert_array_equal(first, again)
    for other in (epoch_plan(FakeData(), epoch=6), epoch_plan(FakeData(), seed=4, epoch=5)):
        assert (first[0] != other[0]).any() and (first[1] != other[1]).all()


def test_augmentation_seeds_are_all_different():
    _, seeds = epoch_plan(FakeData(), iters_per_epoch=50)
    assert len(np.unique(seeds)) == seeds.size


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_plan_of_one_rank(world_size):
    whole = epoch_plan(FakeData())
    batch_size = 16 // world_size
    shares = [
        epoch_plan(FakeData(), rank=rank, world_size=world_size, batch_size=batch_size)
        for rank in range(world_size)
    ]
    for one_rank, parts in zip(whole, zip(*shares)):
        for domain, columns in ((0, slice(None, 16)), (1, slice(16, None))):
            own = [np.split(part, 2, axis=1)[domain] for part in parts]
            np.testing.assert_array_equal(np.concatenate(own, axis=1), one_rank[:, columns])


def test_every_pass_starts_a_new_permutation_and_drops_its_incomplete_batch():
    """20 identities × 4 give 5 batches of 16 per pass; 13 × 4 give 3 and a quarter, which is dropped."""
    for num_classes, per_pass in ((20, 5), (13, 3)):
        dataset = FakeData()
        target = dataset.labels[120:]
        target[target >= num_classes] = -1
        indices, _ = epoch_plan(dataset, iters_per_epoch=4 * per_pass)
        labels = dataset.labels.numpy()[indices[:, 16:]].reshape(4, per_pass * 4, 4)[..., 0]
        assert (labels >= 0).all()
        for one in labels:
            assert len(set(one)) == per_pass * 4  # no identity twice within a pass
        assert any((labels[0] != one).any() for one in labels[1:])


def test_without_drop_last_the_next_pass_fills_the_batch():
    dataset = FakeData()
    dataset.labels[120:][dataset.labels[120:] >= 3] = -1
    indices, _ = epoch_plan(dataset, drop_last=False, iters_per_epoch=6)
    labels = dataset.labels.numpy()[indices[:, 16:]].reshape(-1, 4)[:, 0]
    assert Counter(labels.tolist()) == {0: 8, 1: 8, 2: 8}
    assert all(set(labels[start : start + 3]) == {0, 1, 2} for start in range(0, 24, 3))


def test_outliers_are_never_sampled_and_labels_are_read_at_each_epoch():
    dataset = FakeData()
    sampler = make_sampler(dataset)
    for keep in (5, 11):
        dataset.labels[120:] = torch.where(
            torch.arange(200) < 10 * keep, torch.arange(200) // 10, -1
        )
        labels = dataset.labels.numpy()[np.array(list(sampler))[:, 16:]]
        assert labels.min() >= 0 and labels.max() == keep - 1


def test_plan_is_that_of_the_moment_of_iter():
    dataset = FakeData()
    batches = iter(make_sampler(dataset))
    dataset.labels.fill_(-1)
    assert len(list(batches)) == 7


def test_plain_shuffling_goes_through_all_images_even_without_labels():
    dataset = FakeData(hidden=True)
    options = dict(num_instances=dict(source=4, target=0), batch_size=20, iters_per_epoch=10)
    indices, _ = epoch_plan(dataset, **options)
    assert sorted(indices[:, 20:].ravel()) == list(range(120, 320))
    source = dataset.labels.numpy()[indices[:, :20]].reshape(-1, 4)
    assert (source == source[:, :1]).all()
    assert (indices[:, 20:] != epoch_plan(dataset, epoch=1, **options)[0][:, 20:]).any()


def test_plain_shuffling_leaves_outliers_out_once_there_are_labels():
    dataset = FakeData()
    dataset.labels[120:220] = -1
    indices, _ = epoch_plan(dataset, num_instances=0, batch_size=10, iters_per_epoch=10)
    assert sorted(indices[:, 10:].ravel()) == list(range(220, 320))


def test_length_is_constant_and_defaults_to_one_pass_over_the_target_images():
    dataset = FakeData()
    sampler = make_sampler(dataset, iters_per_epoch=None)
    assert len(sampler) == 200 // 16 == len(list(sampler))
    dataset.labels[120:][dataset.labels[120:] >= 8] = -1
    assert len(sampler) == 12 == len(list(sampler))
    assert len(make_sampler(FakeData(target=0), iters_per_epoch=None)) == 120 // 16
    assert len(make_sampler(dataset, iters_per_epoch=None, world_size=3)) == 200 // 48
    assert len(make_sampler(dataset, iters_per_epoch=None, drop_last=False)) == 13


def test_single_domain_dataset_needs_no_domains():
    dataset = FakeData(source=0)
    del dataset.domains
    dataset.domain = 1
    indices, _ = epoch_plan(dataset)
    np.testing.assert_array_equal(indices, epoch_plan(FakeData(source=0))[0])


# ---------------------------------------------------------------- what the user can mend


def test_too_few_clusters_are_counted():
    dataset = FakeData()
    dataset.labels[120:][dataset.labels[120:] >= 3] = -1
    with pytest.raises(InputError) as caught:
        list(make_sampler(dataset))
    message = str(caught.value)
    assert "target has 3 clusters or identities with 30 of its 200 images" in message
    assert "16 (4 identities × 4)" in message
    assert all(word in message for word in ("batch_size", "num_instances", "eps"))


def test_no_clusters_at_all_are_refused_even_without_drop_last():
    with pytest.raises(InputError, match="target has 0 clusters"):
        list(make_sampler(FakeData(hidden=True), drop_last=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(batch_size=18), "batch_size=18 of the source is no multiple of num_instances=4"),
        (dict(num_instances=dict(source=4)), "no value for the target"),
        (dict(iters_per_epoch=0), "iters_per_epoch=0"),
        (dict(iters_per_epoch=None, batch_size=400), "200 images, expected at least one .* 400"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_at_construction(options, message):
    with pytest.raises(InputError, match=message):
        make_sampler(FakeData(), **options)


# ---------------------------------------------------------------- in a loader


def test_runner_builds_it_and_set_epoch_changes_the_plan():
    init_default_scope("mmreid_uda")
    config = dict(
        batch_size=16,
        num_workers=0,
        dataset=FakeData(),
        sampler=dict(type="DefaultSampler", shuffle=False),
        batch_sampler=dict(type="DomainBatchSampler", num_instances=4, iters_per_epoch=7),
        collate_fn=dict(type="default_collate"),
    )
    loader = Runner.build_dataloader(config, seed=3)
    assert len(loader) == 7
    for epoch in (0, 1):
        loader.batch_sampler.sampler.set_epoch(epoch)
        indices, seeds = epoch_plan(FakeData(), epoch=epoch)
        batches = list(loader)
        np.testing.assert_array_equal(torch.stack([one["index"] for one in batches]), indices)
        np.testing.assert_array_equal(torch.stack([one["seed"] for one in batches]), seeds)


@pytest.fixture
def folder(tmp_path):
    for person in range(4):
        directory = tmp_path / f"p{person}"
        directory.mkdir()
        for number in range(5):
            pixels = make_rng(person, number).integers(0, 256, (40, 20, 3), dtype=np.uint8)
            cv2.imwrite(str(directory / f"{number}.jpg"), pixels)
    return str(tmp_path)


def test_batches_do_not_depend_on_the_number_of_workers(folder):
    pipeline = [
        dict(type="LoadReIDImage"),
        dict(type="Resize", scale=(32, 64), interpolation="bicubic"),
        dict(type="RandomHorizontalFlip"),
        dict(type="PadRandomCrop", padding=10),
        dict(type="RandomErasingBox"),
        dict(type="PackReIDInputs"),
    ]
    source = FolderReIDDataset(folder, pipeline=pipeline)
    target = FolderReIDDataset(folder, pipeline=pipeline, labels="unlabeled", domain=1)
    target.set_labels(torch.arange(20) // 5)
    dataset = CrossDomainDataset(source, target)
    batches = [
        list(
            DataLoader(
                dataset,
                batch_sampler=make_sampler(dataset, batch_size=8, iters_per_epoch=4),
                num_workers=workers,
                collate_fn=reid_collate,
            )
        )
        for workers in (0, 2)
    ]
    assert len(batches[0]) == len(batches[1]) == 4
    for alone, shared in zip(*batches):
        assert torch.equal(alone["inputs"], shared["inputs"])
        for key, value in alone["samples"].items():
            assert torch.equal(value, shared["samples"][key])
    boxes = torch.cat([batch["samples"]["erase_box"] for batch in batches[0]])
    assert len(boxes.unique(dim=0)) > 10  # the draws were random


# ---------------------------------------------------------------- a source that only clustering reads


def test_a_domain_can_be_left_out_of_the_batches():
    indices, seeds = epoch_plan(FakeData(), domains=("target",))
    assert indices.shape == (7, 16) and (FakeData().domains[indices] == 1).all()
    together = epoch_plan(FakeData())
    np.testing.assert_array_equal(indices, together[0][:, 16:])
    np.testing.assert_array_equal(seeds, together[1][:, 16:])


def test_domains_that_are_not_there_are_refused():
    with pytest.raises(InputError, match=r"domains=\['source'\] was given"):
        make_sampler(FakeData(source=0), domains=["source"])
