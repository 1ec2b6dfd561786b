"""What a command line may name: files, folders, and datasets of the config or the catalogue; broken images apart."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmreid_uda.apis.inputs import find_dataset, list_inputs, name_images
from mmreid_uda.utils import InputError


@pytest.fixture
def people(crops, tmp_path):
    """Two people of two crops each, and a config that names them."""
    for number, path in enumerate(crops[:4]):
        place = tmp_path / "people" / f"p{number // 2}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(Path(path).read_bytes())
    own = dict(type="FolderReIDDataset", data_root=str(tmp_path / "people"), folders="identity")
    source = dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)
    root = Path(crops[0]).parents[3]
    return Config(dict(target=own, source=[source, "orl"], test=None, data_root=str(root)))


def test_a_file_of_a_folder_is_listed_once_whatever_links_lead_to_it(people, tmp_path):
    folder = tmp_path / "people"
    (folder / "p0" / "round").symlink_to(folder)
    (folder / "p1" / "again.png").symlink_to("3.png")
    (folder / "zz").symlink_to(folder / "p0")
    names = [Path(path).name for path in list_inputs(folder)]
    assert names == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.parametrize("name", ["target", "people"])
def test_the_target_goes_by_its_role_and_by_its_own_name(people, name):
    assert [Path(path).name for path in find_dataset(people, name, "train").paths] == [
        "0.png", "1.png", "2.png", "3.png",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["source", "synthb"])
def test_a_dataset_of_the_config_is_read_as_the_config_says(people, crops, name):
    assert (
        find_dataset(people, name, "gallery").paths == crops
    )  # 6 of the 19 people, not the catalogue's


def test_a_test_set_of_two_parts_is_found_by_its_parts(people):
    parts = {
        split: dict(people.target, indices=number)
        for number, split in ((1, "query"), (3, "gallery"))
    }
    people.test = [dict(parts, name="mixed")]
    for name in ("test", "mixed"):
        assert [len(find_dataset(people, name, split)) for split in parts] == [1, 3]


def test_a_test_set_is_the_target_where_none_is_named_and_keeps_no_rule(people, crops):
    paths = find_dataset(people, "test", "gallery").paths
    assert paths == find_dataset(people, "target", "gallery").paths
    people.test = [dict(people.source[0], same_camera="keep")]
    assert find_dataset(people, "test", "gallery").paths == crops


def test_a_name_that_is_none_is_told_with_those_there_are(people):
    with pytest.raises(
        InputError,
        match=r"nor a dataset of this name.*market1501.*synthb.*people, test, source, target",
    ):
        find_dataset(people, "market15", "query")
    with pytest.raises(InputError, match="--split query for the files in"):
        name_images(people, [people.target.data_root], "query")


def test_files_win_over_names_without_a_split_and_labels_are_those_of_one_set(people, tmp_path):
    images = name_images(people, ["target"], "train")
    assert images.labels["pid"].tolist() == ["p0", "p0", "p1", "p1"]
    assert not images.labels["has_cameras"] and set(images.labels["camid"]) == {-1}
    assert "time" not in images.labels and "tracklet" not in images.labels
    files = name_images(people, [str(tmp_path / "people"), images.paths[0]])
    assert files.paths == [*images.paths, images.paths[0]] and files.labels == {}
    assert name_images(people, ["target", "target"], "train").labels == {}


def test_people_without_a_name_stay_without_one(people, tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,pid,time,tracklet\n0.png,7,2,a\n1.png,,4.5,a\n2.png,NULL,,\n"
    )
    people.target = dict(
        type="CSVReIDDataset", data_root=str(tmp_path), ann_file="list.csv", img_root=str(tmp_path)
    )
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes((tmp_path / "people/p0/0.png").read_bytes())
    images = name_images(people, ["list"], "train")
    assert images.labels["pid"].tolist() == ["7", "", ""]
    np.testing.assert_equal(images.labels["time"], [2, 4.5, np.nan])
    assert images.labels["tracklet"].tolist() == [0, 0, -1]


def test_broken_images_are_left_out_and_named(people, crops, tmp_path):
    broken = tmp_path / "people" / "p0" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(InputError, match="found 0 images that can be decoded among 1"):
        list_inputs(str(broken), [])
    skipped = []
    pixels = np.zeros((2, 2, 3), np.uint8)
    assert list_inputs([crops[0], pixels, tmp_path / "people"], skipped)[1] is pixels
    assert skipped == [str(broken)]
    for names, split in ((["target"], "train"), ([str(tmp_path / "people")], None)):
        skipped = []
        images = name_images(people, names, split, skipped)
        assert skipped == [str(broken)] and [Path(one).name for one in images.paths] == [
            "0.png",
            "2.png",
            "3.png",
        ]
        if split:
            assert images.labels["pid"].tolist() == ["p0", "p1", "p1"]
    assert len(list_inputs(tmp_path / "people")) == 4  # left to the reader, which refuses it


def test_an_image_that_claims_to_be_enormous_is_a_broken_one(crops, tmp_path):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )
    skipped = []
    assert list_inputs([bomb, crops[0]], skipped) == [crops[0]] and skipped == [str(bomb)]


@pytest.mark.parametrize("wrong", [{"a.png": 1}, b"a.png", 3.0, "x" * 5000, "a\0b"])
def test_what_is_no_image_is_a_sentence(wrong):
    with pytest.raises(InputError, match=r"among the images|does not exist"):
        list_inputs(wrong)
