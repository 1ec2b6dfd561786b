"""What every re-ID dataset promises: order, numbering, shared labels, hidden identities, sentences."""

import copy
import random

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmreid_uda.datasets import Market1501, ReIDDataset
from mmreid_uda.datasets.ids import sorted_ids
from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils import InputError, SeededIndex, make_rng


class Records(ReIDDataset):
    """A dataset of given (path, pid, camid) triples."""

    def __init__(self, triples, **kwargs):
        self.triples = triples
        super().__init__("data", **kwargs)

    def load_split(self):
        return [
            {"img_path": f"data/{path}", "pid": pid, "camid": cam}
            for path, pid, cam in self.triples
        ]


TRIPLES = [("b.jpg", 10, 1), ("a.jpg", 2, 0), ("d.jpg", 2, 3), ("c.jpg", 10, 0)]


@pytest.fixture
def market(tmp_path):
    folder = tmp_path / "bounding_box_train"
    folder.mkdir()
    for pid in range(4):
        for camera in (1, 2):
            image = np.full((8, 4, 3), 20 * pid + camera, np.uint8)
            cv2.imwrite(str(folder / f"{pid + 1:04d}_c{camera}s1_000151_01.jpg"), image)
    return str(tmp_path)


def fetch(items):
    return [(item["sample_idx"], item["gt_label"]) for item in items]


def test_order_follows_the_path_not_the_file_system():
    shuffled = random.Random(1).sample(TRIPLES, len(TRIPLES))
    one, two = Records(TRIPLES), Records(shuffled)
    assert one.paths == two.paths == [f"data/{name}.jpg" for name in "abcd"]
    assert one.pids.tolist() == [2, 10, 10, 2]
    assert one.camids.tolist() == [0, 1, 0, 3]
    assert one.fingerprint == two.fingerprint
    assert one.has_cameras and one.num_cams == 3 and one.num_pids == 2


def test_fingerprint_sees_every_field_but_not_the_place():
    class Elsewhere(Records):
        def load_split(self):
            self.root = "elsewhere/of/mine"
            return [
                record | {"img_path": record["img_path"].replace("data/", "elsewhere/of/mine/")}
                for record in super().load_split()
            ]

    prints = {
        Records([*TRIPLES[:3], changed]).fingerprint
        for changed in [("c.jpg", 10, 0), ("x.jpg", 10, 0), ("c.jpg", 2, 0), ("c.jpg", 10, 1)]
    }
    assert len(prints) == 4
    assert Elsewhere(TRIPLES).fingerprint == Records(TRIPLES).fingerprint


def test_identities_are_numbered_by_value_for_integers_and_texts():
    assert sorted_ids([10, 9, 100]) == [9, 10, 100]
    assert sorted_ids(["s10", "s9", "s100", "a"]) == ["a", "s9", "s10", "s100"]
    assert sorted_ids(["1", "01", "2"]) == ["01", "1", "2"]
    texts = Records([("a", "s10", 0), ("b", "s2", 0), ("c", "s10", 1)])
    assert texts.true_labels.tolist() == [1, 0, 1]
    assert texts.pids.tolist() == ["s10", "s2", "s10"]
    assert Records(TRIPLES).true_labels.tolist() == [0, 1, 1, 0]


def test_unknown_cameras_become_one_camera_per_image():
    unknown = Records([(name, pid, None) for name, pid, _ in TRIPLES])
    assert unknown.camids.tolist() == [0, 1, 2, 3] and not unknown.has_cameras
    partly = Records([("a", 1, 5), ("b", 2, None), ("c", 2, None)])
    assert partly.camids.tolist() == [5, 7, 8] and not partly.has_cameras


def test_a_missing_value_is_never_one(tmp_path):
    nan = float("nan")
    odd = Records([("a", "x", nan), ("b", "None", -1), ("c", nan, None)], labels="unlabeled")
    assert odd.true_labels.tolist() == [0, -1, -1] and odd.pids.tolist() == ["x", None, None]
    assert odd.num_cams == 0 and odd.camids.tolist() == [0, 1, 2]


def test_identities_may_have_any_number_of_digits():
    long = "9" * 5000
    assert sorted_ids([long, "8" * 5000, "10", "9"]) == ["9", "10", "8" * 5000, long]
    assert Records([("a", 10**30, 0), ("b", 2, 0)]).true_labels.tolist() == [1, 0]


def test_spellings_of_a_path_are_one_file_with_all_that_is_known(caplog):
    twice = [("b.jpg", 10, None), ("./b.jpg", None, 1), ("x/../a.jpg", 2, 0), ("a.jpg", 2, 0)]
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    merged = Records([*twice, *TRIPLES[2:]], name="twice")
    Records([*twice, *TRIPLES[2:]], name="twice")
    logger.removeHandler(caplog.handler)
    assert merged.fingerprint == Records(TRIPLES).fingerprint
    assert merged.pids.tolist() == [2, 10, 10, 2] and merged.camids.tolist() == [0, 1, 0, 3]
    assert (
        caplog.text.count("twice train: 2 of 6 entries lead to a file that is there already") == 1
    )


def test_hidden_labels_leave_no_identity_in_the_items():
    target = Records(TRIPLES, labels="unlabeled", domain=1)
    assert target.labels.tolist() == [-1] * 4
    for index in range(4):
        info = target[index]
        assert info.keys() - {"img_path", "rng"} == {
            "camid",
            "camera",
            "sample_idx",
            "gt_label",
            "domain",
        }
        assert info["gt_label"] == -1 and info["domain"] == 1 and info["sample_idx"] == index
    target.set_labels(torch.tensor([1, 0, -1, 1]))
    assert [target[index]["gt_label"] for index in range(4)] == [1, 0, -1, 1]
    assert target.true_labels.tolist() == [0, 1, 1, 0]


def test_an_unknown_camera_is_none_in_the_items_and_so_is_one_of_a_source():
    triples = [("a", 1, 5), ("b", 1, None), ("c", 2, 0)]
    for more, expected in (
        (dict(domain=1, labels="unlabeled"), [5, -1, 0]),
        (dict(split="query"), [5, -1, 0]),
        ({}, [-1, -1, -1]),
    ):
        assert [item["camera"] for item in Records(triples, **more)] == expected


def test_training_truth_carries_the_label_and_test_splits_the_pid():
    assert "pid" not in Records(TRIPLES)[1] and Records(TRIPLES)[1]["gt_label"] == 1
    assert Records(TRIPLES, split="query")[-1]["pid"] == 2
    assert Records(TRIPLES, split="query")[-1]["sample_idx"] == 3
    assert Records([("a", "x", 0), ("b", "y", 0)], split="gallery")[1]["pid"] == 1
    with pytest.raises(IndexError):
        Records(TRIPLES)[4]


@pytest.mark.parametrize(
    "labels, words",
    [
        (torch.zeros(3, dtype=torch.long), "shape"),
        (torch.zeros(4), "integers"),
        (torch.tensor([0, 2, 2, 0]), "contiguous"),
        (torch.tensor([0, 1, -2, 0]), "contiguous"),
    ],
)
def test_set_labels_refuses_what_is_not_contiguous(labels, words):
    dataset = Records(TRIPLES)
    with pytest.raises(ValueError, match=words):
        dataset.set_labels(labels)
    assert dataset.labels.tolist() == [0, 1, 1, 0]


def test_set_labels_takes_all_outliers_and_small_integer_types():
    dataset = Records(TRIPLES)
    dataset.set_labels(torch.full((4,), -1, dtype=torch.int32))
    assert dataset.labels.tolist() == [-1] * 4 and dataset.labels.dtype == torch.int64


def test_a_deep_copy_shares_the_labels():
    dataset = Records(TRIPLES, labels="unlabeled")
    twin = copy.deepcopy({"dataset": [dataset]})["dataset"][0]
    assert twin is not dataset
    dataset.set_labels(torch.tensor([0, 1, 0, 1]))
    assert twin.labels.tolist() == [0, 1, 0, 1]
    twin.set_labels(torch.tensor([0, 0, 0, -1]))
    assert dataset.labels.tolist() == [0, 0, 0, -1]


@pytest.mark.slow
@pytest.mark.parametrize("method, workers", [("fork", 2), ("spawn", 1)])
def test_persistent_workers_see_every_relabeling(market, method, workers):
    dataset = copy.deepcopy(Market1501(market, labels="unlabeled"))
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=workers,
        persistent_workers=True,
        collate_fn=fetch,
        multiprocessing_context=method,
    )
    seen = [dict(pair for batch in loader for pair in batch)]
    assert seen[0] == dict.fromkeys(range(8), -1)
    for labels in ([0] * 8, [0, 1, 2, 3, -1, -1, 4, 4], [1, 0, -1, 1, 0, -1, 1, 0]):
        dataset.set_labels(torch.tensor(labels))
        assert dict(pair for batch in loader for pair in batch) == dict(enumerate(labels))


def test_a_seeded_index_brings_its_own_generator():
    dataset = Records(TRIPLES, seed=7)
    assert dataset[SeededIndex(2, 99)]["rng"].random() == make_rng(99).random()
    assert dataset[SeededIndex(2, 99)]["sample_idx"] == 2
    assert (
        dataset[2]["rng"].random()
        == make_rng(7, "augment", 2).random()
        == dataset[-2]["rng"].random()
    )
    assert dataset[2]["rng"].random() != dataset[1]["rng"].random()


def test_pipeline_is_applied_once_and_in_order():
    dataset = Records(
        TRIPLES,
        pipeline=[lambda results: results["sample_idx"], lambda index: index * 10],
    )
    assert [dataset[index] for index in range(4)] == [0, 10, 20, 30]


def test_pipeline_configs_are_built_from_our_registry_without_a_runner():
    class Shout:
        def __init__(self, ending):
            self.ending = ending

        def __call__(self, results):
            return results["img_path"] + self.ending

    TRANSFORMS.register_module(module=Shout, name="ShoutForThisTest", force=True)
    config = {"type": "ShoutForThisTest", "ending": "!"}
    assert Records(TRIPLES, pipeline=[config])[0] == "data/a.jpg!"
    assert config == {"type": "ShoutForThisTest", "ending": "!"}


def test_indices_keep_labels_contiguous():
    assert Records(TRIPLES, indices=3).true_labels.tolist() == [0, 1, 1]
    assert Records(TRIPLES, indices=-2).paths == ["data/c.jpg", "data/d.jpg"]
    assert Records(TRIPLES, indices=[3, 1]).pids.tolist() == [2, 10]
    with pytest.raises(NotImplementedError, match="indices"):
        Records(TRIPLES).get_subset(2)


def test_corrupt_images_are_skipped_and_counted(market, tmp_path, caplog):
    folder = tmp_path / "bounding_box_train"
    (folder / "0001_c1s1_000151_01.jpg").write_bytes(b"no picture")
    (folder / "0003_c2s1_000151_01.jpg").write_bytes(b"")
    assert len(Market1501(market)) == 8
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    kept = Market1501(market, corrupt="skip")
    logger.removeHandler(caplog.handler)
    assert len(kept) == len(kept.labels) == 6 and kept.num_pids == 4
    assert "2 of 8 images cannot be decoded" in caplog.text and "0001_c1s1" in caplog.text


@pytest.mark.parametrize(
    "triples, options, words",
    [
        ([], {}, "0 usable images"),
        ([("a", 1, 0), ("b", 1, 0)], {}, "has 1 identity in 2 images, expected at least 2"),
        ([("a", 1, 0), ("b", None, 0)], {}, "1 of the 2 images .* have no identity"),
        ([("a", 1, 0), ("./a", 2, 0)], {}, "one file with two identities, 1 as 'a' and 2 as 'a'"),
        ([("a", 1, 0), ("a", 1, 4)], {}, "one file with two cameras, 0 as 'a' and 4 as 'a'"),
        (
            TRIPLES,
            {"split": "test"},
            "split='test' .* expected 'train', 'query' or 'gallery'",
        ),
        (TRIPLES, {"labels": "none"}, "expected 'ground_truth' or 'unlabeled'"),
        (TRIPLES, {"corrupt": "drop"}, "expected 'raise' or 'skip'"),
        (TRIPLES, {"labels": "unlabeled", "split": "query"}, "scored by its identities"),
    ],
)
def test_bad_input_is_a_sentence(triples, options, words):
    with pytest.raises(InputError, match=words):
        Records(triples, **options)


def test_one_identity_is_fine_where_labels_are_hidden_or_for_testing():
    assert Records([("a", 1, 0), ("b", 1, 1)], labels="unlabeled").num_pids == 1
    assert Records([("a", 1, 0), ("b", 1, 1)], split="query").num_pids == 1
    assert Records([("a", None, 0)], labels="unlabeled").true_labels.tolist() == [-1]
