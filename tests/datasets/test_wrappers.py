"""Source and target as one list, test sets as one list, and the protocol checked before any training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmreid_uda.datasets import (
    CrossDomainDataset,
    FolderReIDDataset,
    ReIDDataset,
    ReIDTestDataset,
    queries_with_match,
    statistics_table,
)
from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError, SeededIndex, make_rng


class Table(ReIDDataset):
    """Images made up from lists of identities and cameras."""

    def __init__(self, pids, cams=None, split="train", stem="image", **kwargs):
        cams = [None] * len(pids) if cams is None else cams
        self.table = [
            {"img_path": f"x/{stem}{number:03d}.jpg", "pid": pid, "camid": cam}
            for number, (pid, cam) in enumerate(zip(pids, cams))
        ]
        super().__init__("x", split, **kwargs)

    def load_split(self):
        return self.table


def pair(query, gallery, name="toy", **options):
    """A test set from two (pids, cams) pairs, of different images."""
    return {
        "query": Table(*query, split="query", stem="q"),
        "gallery": Table(*gallery, split="gallery", stem="g"),
        "name": name,
        **options,
    }


@pytest.fixture
def logged(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_source_then_target_with_domains_and_own_indices():
    source, target = Table([5, 9, 5], [0, 1, 2]), Table([7, 8], [0, 1], labels="unlabeled")
    both = CrossDomainDataset(source, target)
    assert len(both) == 5 and both.domains.tolist() == [0, 0, 0, 1, 1]
    assert [both[index]["sample_idx"] for index in range(5)] == [0, 1, 2, 0, 1]
    assert [both[index]["domain"] for index in range(5)] == [0, 0, 0, 1, 1]
    assert (
        [both[index]["gt_label"] for index in range(5)] == both.labels.tolist() == [0, 1, 0, -1, -1]
    )
    assert both[-1]["sample_idx"] == 1 and "pid" not in both[0] and "pid" not in both[4]
    with pytest.raises(IndexError):
        both[5]


def test_new_labels_of_the_target_are_read_afresh():
    both = CrossDomainDataset(Table([5, 9], [0, 1]), Table([7, 8], [0, 1], labels="unlabeled"))
    both.target.set_labels(torch.tensor([0, 0]))
    assert both.labels.tolist() == [0, 1, 0, 0] and both[3]["gt_label"] == 0


def test_several_sources_stay_distinct():
    sources = [Table([5, 9, 5], [0, 1, 4]), Table([5, 6], [0, 1]), Table([1, 2, 3], [2, 1, 0])]
    both = CrossDomainDataset(sources, Table([5, 6], [0, 1], labels="unlabeled"))
    assert both.labels.tolist() == [0, 1, 0, 2, 3, 4, 5, 6, -1, -1]
    assert both.num_source_pids == 7
    assert both.camids.tolist() == [0, 1, 4, 5, 6, 9, 8, 7, 0, 1]
    items = [both[index] for index in range(len(both))]
    assert [item["gt_label"] for item in items] == both.labels.tolist()
    assert [item["camid"] for item in items] == both.camids.tolist()
    assert [item["sample_idx"] for item in items] == [*range(8), 0, 1]
    assert [item["domain"] for item in items] == both.domains.tolist() == [0] * 8 + [1, 1]
    sources[1].set_labels(torch.tensor([-1, 0]))
    assert both.labels.tolist()[3:5] == [-1, 2] == [both[3]["gt_label"], both[4]["gt_label"]]


def test_either_domain_may_be_missing_but_not_both():
    alone = CrossDomainDataset(None, Table([7, 8], [0, 1], labels="unlabeled"))
    assert (
        alone.domains.tolist() == [1, 1]
        and alone.source_datasets == []
        and alone.num_source_pids == 0
    )
    assert alone[1]["sample_idx"] == 1 and alone.metainfo == {
        "source_names": [],
        "target_name": "table",
    }
    supervised = CrossDomainDataset(Table([7, 8], [0, 1]))
    assert supervised.target is None and supervised.domains.tolist() == [0, 0]
    with pytest.raises(InputError, match="source=None and target=None"):
        CrossDomainDataset()


def test_a_seeded_index_reaches_the_dataset_behind():
    both = CrossDomainDataset(
        Table([5, 9], [0, 1]), Table([7, 8], [0, 1], labels="unlabeled", seed=3)
    )
    assert both[SeededIndex(3, 42)]["rng"].random() == make_rng(42).random()
    assert both[3]["rng"].random() == make_rng(3, "augment", 1).random()


def test_fingerprint_of_a_pair_depends_on_both():
    one, two = Table([5, 9], [0, 1]), Table([7, 8], [0, 1])
    prints = {
        CrossDomainDataset(*pair).fingerprint for pair in [(one, two), (two, one), (one, None)]
    }
    assert len(prints) == 3
    assert CrossDomainDataset(one, two).fingerprint == CrossDomainDataset(one, two).fingerprint


def folder_tree(root, people):
    for person in people:
        (root / person).mkdir(parents=True)
        for number in range(3):
            (root / person / f"{number}.jpg").write_bytes(b"")
    return str(root)


def test_configs_build_hidden_targets_and_keep_their_own_pipelines(tmp_path):
    root = folder_tree(tmp_path / "pets", ["a", "b", "c"])
    config = {"type": "FolderReIDDataset", "data_root": root}
    both = CrossDomainDataset(
        {**config, "ids": ["a", "b"], "pipeline": [lambda results: "source"]},
        {**config, "labels": "unlabeled"},
        pipeline=[lambda results: results["gt_label"]],
    )
    assert both[0] == "source" and both[len(both) - 1] == -1
    assert isinstance(both.target, FolderReIDDataset) and both.target.domain == 1
    assert CrossDomainDataset(None, config).labels.tolist() == [-1] * 9
    assert CrossDomainDataset(None, {**config, "labels": "ground_truth"}).labels.max() == 2


def test_runner_builds_the_wrapper_from_its_config(tmp_path):
    root = folder_tree(tmp_path / "pets", ["a", "b"])
    config = {
        "dataset": {
            "type": "mmreid_uda.CrossDomainDataset",
            "source": {"type": "FolderReIDDataset", "data_root": root},
            "target": {"type": "FolderReIDDataset", "data_root": root},
            "pipeline": [int_label],
        },
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "batch_size": 12,
        "num_workers": 0,
        "collate_fn": {"type": list},
    }
    assert DATASETS.get("CrossDomainDataset") is CrossDomainDataset
    loader = Runner.build_dataloader(config, seed=0)
    assert next(iter(loader)) == [0, 0, 0, 1, 1, 1, *[-1] * 6]


def int_label(results):
    return results["gt_label"]


def test_test_sets_carry_joint_identities_roles_and_unique_indices():
    one = pair((["z", "b10"], [0, 0]), (["b9", "z", "b10"], [1, 1, 1]), name="one")
    two = pair(([3], [0]), ([0, 3], [1, 2]), name="two")
    test = ReIDTestDataset([one, two])
    assert test.metainfo["set_names"] == ["one", "two"] and len(test) == 8
    assert test.metainfo["cameras"].shape == test.metainfo["times"].shape == (8,)
    assert test.pids.tolist() == [2, 1, 0, 2, 1, 3, 0, 3]
    assert test.is_query.tolist() == [True, True, False, False, False, True, False, False]
    assert test.set_ids.tolist() == [0] * 5 + [1] * 3
    for index in range(len(test)):
        item = test[index]
        assert item["sample_idx"] == index and item["img_path"] == test.paths[index]
        for key, values in [
            ("pid", test.pids),
            ("camid", test.camids),
            ("is_query", test.is_query),
            ("set_id", test.set_ids),
        ]:
            assert item[key] == values[index] and type(item[key]) in (int, bool)


def test_unknown_cameras_are_numbered_by_image_over_query_and_gallery():
    apart = ReIDTestDataset([pair(([1, 2],), ([1, 2],))])
    assert len(set(apart.camids)) == 4
    same = {"query": Table([1, 1, 2], split="query"), "gallery": Table([1, 1, 2], split="gallery")}
    together = ReIDTestDataset([same])
    assert together.camids.tolist() == [0, 1, 2] and len(together) == 3
    assert together.is_query.all() and together.is_gallery.all()
    with pytest.raises(
        InputError, match="cameras of table are not known for all of its 3 queries and 3 gallery"
    ):
        ReIDTestDataset([same], same_camera="remove")


def test_one_camera_for_all_is_told_and_keep_mends_it():
    one_camera = pair(([1, 2], [3, 3]), ([1, 2, 2], [3, 3, 3]))
    for rule in ("auto", "remove"):
        with pytest.raises(InputError) as caught:
            ReIDTestDataset([one_camera], same_camera=rule)
        message = str(caught.value)
        for words in (
            "2 queries, 3 gallery images, 2 shared identities, 1 cameras",
            "all images share one camera, so the same-camera rule removes every match",
            "same_camera='keep'",
        ):
            assert words in message
    assert len(ReIDTestDataset([one_camera], same_camera="keep")) == 5
    assert len(ReIDTestDataset([{**one_camera, "same_camera": "keep"}])) == 5


def test_keep_still_excludes_the_query_image_itself():
    images = dict(pids=[1, 1, 2], cams=[0, 0, 0])
    leave_one_out = {
        "query": Table(**images, split="query"),
        "gallery": Table(**images, split="gallery"),
    }
    test = ReIDTestDataset([leave_one_out], same_camera="keep")
    found = queries_with_match(test.pids, test.camids, test.pids, test.camids)
    assert found.tolist() == [True, True, False]


def test_a_file_that_is_query_and_gallery_is_one_item_under_any_name(tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.jpg").touch()
    (tmp_path / "link.jpg").symlink_to("c.jpg")
    (tmp_path / "list.csv").write_text(
        "path,pid,split\na.jpg,1,test\nb.jpg,2,query\n./b.jpg,2,gallery\nc.jpg,1,query\n"
        "link.jpg,1,gallery\nd.jpg,2,gallery\n"
    )
    read = []
    pipeline = [lambda item: read.append(item["img_path"]) or item]
    config = {
        "type": "CSVReIDDataset",
        "ann_file": str(tmp_path / "list.csv"),
        "pipeline": pipeline,
    }
    test = ReIDTestDataset([config, {**config, "name": "again"}])
    items = [test[place] for place in range(len(test))]
    assert [Path(path).stem for path in read] == ["a", "b", "c", "d"] * 2
    assert [item["img_path"] for item in items] == test.paths
    assert test.is_query.tolist() == [True, True, True, False] * 2
    assert test.is_gallery.tolist() == [True] * 8
    assert test.set_ids.tolist() == [0] * 4 + [1] * 4
    assert [item["is_gallery"] for item in items] == test.is_gallery.tolist()
    assert [item["sample_idx"] for item in items] == list(range(8))
    assert test[SeededIndex(6, 42)]["rng"].random() == make_rng(42).random()
    assert test[-1]["img_path"].endswith("d.jpg")


def test_one_file_with_two_identities_or_cameras_is_told(tmp_path):
    def both(query, gallery):
        return {"query": Table(*query, split="query"), "gallery": Table(*gallery, split="gallery")}

    with pytest.raises(
        InputError, match=r"image001\.jpg' has other identities as query and as gal"
    ):
        ReIDTestDataset([both(([1, 2],), ([1, 1],))])
    with pytest.raises(InputError, match=r"image000\.jpg' has other cameras .* \(1 such files\)"):
        ReIDTestDataset([both(([1, 2], [0, 1]), ([1, 2, 1], [3, 1, 4]))])
    known = ReIDTestDataset(
        [both(([1, 1, 2, 2], [0, 1, 0, 1]), ([1, 1, 2, 2], [0, None, None, 1]))]
    )
    assert known.camids.tolist() == [0, 1, 0, 1]


def test_some_unknown_cameras_leave_the_rule_for_the_known_ones():
    query, gallery = ([1, 2, 3], [0, 5, None]), ([1, 1, 2, 3, 2], [0, 1, None, None, 5])
    test = ReIDTestDataset([pair(query, gallery)])
    known = [0, 5, None, 0, 1, None, None, 5]
    for one, first in enumerate(known):
        for other, second in enumerate(known):
            same = one == other or (first is not None and first == second)
            assert (test.camids[one] == test.camids[other]) == same
    assert test.cameras.tolist() == [-1 if one is None else one for one in known]
    kept_apart = ReIDTestDataset([pair(query, gallery)], same_camera="keep")
    assert kept_apart.camids.tolist() == list(range(8))
    assert kept_apart.cameras.tolist() == test.cameras.tolist()
    with pytest.raises(InputError, match="are not known for all"):
        ReIDTestDataset([pair(query, gallery)], same_camera="remove")


def test_cameras_with_names_are_one_over_query_and_gallery_of_two_places(tmp_path):
    for place, names in (("q", ["1_west", "2_east"]), ("g", ["1_north", "1_west", "2_south"])):
        (tmp_path / place).mkdir()
        for name in names:
            (tmp_path / place / f"{name}.jpg").touch()
    config = {"type": "FolderReIDDataset", "pattern": r"(?P<pid>\d)_(?P<camid>[a-z]+)"}
    sides = {
        split: {**config, "data_root": str(tmp_path / place)}
        for split, place in (("query", "q"), ("gallery", "g"))
    }
    test = ReIDTestDataset([sides])
    assert [Path(path).stem for path in test.paths[:3]] == ["1_west", "2_east", "1_north"]
    assert test.camids.tolist() == [3, 0, 1, 3, 2]


@pytest.mark.parametrize(
    "query, gallery, words",
    [
        (
            ([1, 2], [0, 0]),
            ([3, 4], [1, 1]),
            "2 queries, 2 gallery images, 0 shared identities, 2 cameras",
        ),
        (
            ([1, 2], [0, 1]),
            ([1, 2], [0, 1]),
            "2 shared identities, 2 cameras.*another camera.*same_camera='keep'",
        ),
        ((["a"],), (["b"],), r"1 queries, 1 gallery images, 0 shared identities\)"),
    ],
)
def test_a_set_that_cannot_be_scored_is_told_with_counts(query, gallery, words):
    with pytest.raises(InputError, match=words):
        ReIDTestDataset([pair(query, gallery)])


def test_queries_without_a_match_are_counted_in_a_warning(logged):
    ReIDTestDataset([pair(([1, 2, 3], [0, 0, 0]), ([1, 2], [1, 0]), name="gaps")])
    assert (
        "gaps: 2 of the queries have no match in the gallery and are not scored (3 queries"
        in logged.text
    )


def test_names_of_test_sets_must_differ_and_exist():
    with pytest.raises(InputError, match="share the name toy"):
        ReIDTestDataset([pair(([1], [0]), ([1, 2], [1, 1]))] * 2)
    with pytest.raises(InputError, match=r"sets=\[\]"):
        ReIDTestDataset([])
    with pytest.raises(InputError, match="same_camera='drop'"):
        ReIDTestDataset([pair(([1], [0]), ([1], [1]))], same_camera="drop")


def test_one_identity_is_no_test_set():
    with pytest.raises(InputError, match="found one identity among 1 queries and 2 gallery images"):
        ReIDTestDataset([pair(([1], [0]), ([1, 1], [1, 2]))])


def test_queries_with_match_equals_a_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        q, g = rng.integers(1, 12, 2)
        query_pids, gallery_pids = rng.integers(-1, 4, q), rng.integers(-1, 4, g)
        query_cams, gallery_cams = rng.integers(-1, 3, q), rng.integers(-1, 3, g)
        slow = [
            any(p == gp and (c != gc_ or c < 0) for gp, gc_ in zip(gallery_pids, gallery_cams))
            for p, c in zip(query_pids, query_cams)
        ]
        fast = queries_with_match(query_pids, query_cams, gallery_pids, gallery_cams)
        assert fast.tolist() == slow


def test_statistics_are_logged_once_per_content(logged):
    source = Table([5, 9, 5] * 500, [0, 1, 2] * 500, name="tennis")
    for _ in range(2):
        CrossDomainDataset(source, Table([None, None], labels="unlabeled", name="pile"))
    assert logged.text.count("tennis") == 1
    assert statistics_table(
        [source, Table([None], labels="unlabeled", name="pile")]
    ).splitlines() == [
        "dataset  split  ids  images  cameras",
        "tennis   train    2   1,500        3",
        "pile     train    -       1        -",
    ]
