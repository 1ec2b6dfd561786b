"""Injected label noise: seeded, of the asked size, recorded, and for any dataset."""

from collections import Counter

import numpy as np
import pytest

from mmreid_uda.datasets import FolderReIDDataset, LabelNoise, build_dataset, precision_recall
from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError

RECORDS = [dict(img_path=f"{i:03d}.jpg", pid=i // 10, camid=0) for i in range(200)]


def kinds(records):
    return Counter(record.get("noise") for record in records)


def test_every_kind_has_its_share_and_its_record():
    noisy = LabelNoise(wrong_id=0.2, outlier=0.1, duplicate=0.05, seed=3)(RECORDS)
    assert kinds(noisy) == {None: 140, "wrong_id": 40, "outlier": 20, "duplicate": 10}
    dissolved = {record["clean_pid"] for record in noisy if record.get("noise") == "outlier"}
    assert len(dissolved) == 2 and not dissolved & {record["pid"] for record in noisy}
    originals = {record["img_path"]: record["pid"] for record in RECORDS}
    for record in noisy:
        assert record.get("clean_pid", record["pid"]) == originals[record["img_path"]]
        assert ("noise" in record) == (record["pid"] != originals[record["img_path"]])
    paths = [record["img_path"] for record in noisy]
    assert paths[:200] == list(originals)
    copied = {record["img_path"]: record for record in noisy[:200]}
    assert all("noise" not in copied[path] for path in paths[200:])
    assert all("noise" not in record for record in RECORDS), "the records given are left alone"


def test_noise_follows_from_its_seed_alone():
    one, same, other = (LabelNoise(wrong_id=0.3, seed=seed)(RECORDS) for seed in (1, 1, 2))
    assert one == same and one != other
    assert kinds(one) == kinds(other)


def test_bad_shares_and_keys_are_one_sentence():
    with pytest.raises(InputError, match=r"wrong_id=1\.5 .* a number from 0 to 1"):
        LabelNoise(wrong_id=1.5)
    with pytest.raises(InputError, match=r"noise\.wrong_ids=0\.1 .*`wrong_id`"):
        DATASETS.build(dict(type="FolderReIDDataset", data_root="x", noise=dict(wrong_ids=0.1)))
    with pytest.raises(InputError, match="0 identities left"):
        LabelNoise(outlier=1.0)(RECORDS)
    with pytest.raises(InputError, match="without identity"):
        LabelNoise(wrong_id=0.1)([dict(img_path="a.jpg", pid=None, camid=0)])


@pytest.fixture
def folder(tmp_path):
    for pid in "abcdef":
        (tmp_path / pid).mkdir()
        for number in range(5):
            (tmp_path / pid / f"{number}.jpg").write_bytes(b"")
    return str(tmp_path)


NOISE = dict(wrong_id=0.2, outlier=0.1, duplicate=0.2, seed=1)


def test_a_dataset_with_noise_knows_what_is_wrong(folder):
    noisy = FolderReIDDataset(folder, noise=NOISE)
    assert Counter(noisy.noise) == {"": 19, "wrong_id": 6, "outlier": 5, "duplicate": 6}
    assert len(noisy) == 36 and len(set(noisy.paths)) == 30
    assert noisy.num_pids == 5 and set(noisy.labels.tolist()) == set(range(5))
    wrong = noisy.noise != ""
    assert ((noisy.true_labels != noisy.clean_labels) == wrong).all()
    assert ((noisy.clean_labels == -1) == (noisy.noise == "outlier")).all()
    clean = FolderReIDDataset(folder)
    assert not (clean.noise != "").any() and (clean.true_labels == clean.clean_labels).all()
    assert noisy.fingerprint != clean.fingerprint
    assert noisy.fingerprint == FolderReIDDataset(folder, noise=NOISE).fingerprint


def test_noise_of_a_target_leaves_its_test_set_alone(tmp_path):
    target = dict(name="synthb", num_train_ids=4, num_test_ids=4, images_per_id=4, noise=NOISE)
    train, query = (
        build_dataset(target, split, data_root=tmp_path) for split in ("train", "query")
    )
    assert (train.noise != "").any() and not (query.noise != "").any()


def test_precision_and_recall_of_what_was_flagged():
    flagged, wrong = np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 1, 0], bool)
    assert precision_recall(flagged, wrong) == dict(
        precision=pytest.approx(100 / 3), recall=pytest.approx(50)
    )
    assert precision_recall(flagged & False, wrong) == dict(recall=0)
