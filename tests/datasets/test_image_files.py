"""An image is its file: endings, links, circles of links, and folders that cannot be read."""

import os

import pytest
from empty_files import touch

from mmreid_uda.datasets import FolderReIDDataset, Market1501
from mmreid_uda.datasets.files import list_images, real_paths, shown, walk_images
from mmreid_uda.utils import InputError


def test_real_paths_are_equal_for_one_file_alone(tmp_path, monkeypatch):
    touch(tmp_path, "a/x.jpg", "a/y.jpg")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "link.jpg").symlink_to("x.jpg")
    os.link(tmp_path / "a" / "y.jpg", tmp_path / "a" / "hard.jpg")
    monkeypatch.chdir(tmp_path)
    same = [
        "a/x.jpg",
        "./a//x.jpg",
        "b/x.jpg",
        "a/link.jpg",
        "b/../a/link.jpg",
        f"{tmp_path}/b/x.jpg",
    ]
    assert set(real_paths(same)) == {str((tmp_path / "a/x.jpg").resolve())}
    assert real_paths(same) == [os.path.realpath(path) for path in same]
    assert len(set(real_paths(["a/x.jpg", "a/y.jpg", "a/hard.jpg", "none/x.jpg", "."]))) == 5


def test_links_to_files_and_folders_are_followed_but_not_round_in_circles(tmp_path):
    touch(tmp_path, "data/1/a.jpg", "data/2/b.jpg", "store/c.jpg")
    data = tmp_path / "data"
    (data / "3").symlink_to(tmp_path / "store")
    (data / "1" / "up").symlink_to(data)
    (data / "2" / "self").symlink_to(data / "2")
    (tmp_path / "store" / "back").symlink_to(data)
    (data / "2" / "lost.jpg").symlink_to("nowhere.jpg")
    (data / "2" / "ring.jpg").symlink_to("ring.jpg")
    expected = ["1/a.jpg", "2/b.jpg", "2/lost.jpg", "2/ring.jpg", "3/c.jpg"]
    assert walk_images(str(data)) == expected
    assert list_images(str(data / "2")) == ["b.jpg", "lost.jpg", "ring.jpg"]
    assert len(FolderReIDDataset(str(data), corrupt="raise", labels="unlabeled")) == 5


def test_a_folder_under_two_names_is_two_identities_of_one_file(tmp_path):
    touch(tmp_path, "ann/a.jpg", "bob/b.jpg")
    (tmp_path / "carl").symlink_to(tmp_path / "ann")
    with pytest.raises(
        InputError, match=r"two identities, 'ann' as 'ann/a\.jpg' and 'carl' as 'carl/"
    ):
        FolderReIDDataset(str(tmp_path))


def test_links_of_one_identity_are_merged(tmp_path):
    touch(tmp_path, "bounding_box_train/0001_c1s1_1_1.jpg", "bounding_box_train/0002_c1s1_1_1.jpg")
    (tmp_path / "bounding_box_train" / "0001_c1s1_1_2.jpg").symlink_to("0001_c1s1_1_1.jpg")
    assert [os.path.basename(path) for path in Market1501(str(tmp_path)).paths] == [
        "0001_c1s1_1_1.jpg",
        "0002_c1s1_1_1.jpg",
    ]


def test_the_spelling_of_the_root_changes_neither_order_nor_fingerprint(tmp_path, monkeypatch):
    touch(tmp_path, "d/b/1.jpg", "d/a/2.jpg", "d/a/10.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "d")
    (tmp_path / "list.csv").write_text(
        f"path,pid\n{tmp_path}/d/b/1.jpg,b\n./d//a/2.jpg,a\nlink/a/10.jpg,a\n"
    )
    monkeypatch.chdir(tmp_path)
    roots = (
        "d",
        "./d",
        "d/",
        "link",
        str(tmp_path / "d"),
        f"../{tmp_path.name}//d",
        tmp_path / "d",
    )
    sets = [FolderReIDDataset(root, name="d") for root in roots]
    assert len({one.fingerprint for one in sets}) == 1
    assert {tuple(one.pids) for one in sets} == {("a", "a", "b")}


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    touch(tmp_path, "1/a.jpg", "2/b.jpg")
    scandir = os.scandir

    def refuse(folder):
        if str(folder).rstrip("/").endswith("/2"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        InputError, match=r"the folder '.*/2/?' cannot be read \(Permission denied\)"
    ):
        FolderReIDDataset(str(tmp_path))
    with pytest.raises(InputError, match="cannot be read"):
        list_images(str(tmp_path / "2"))


def test_names_in_messages_are_one_short_line():
    assert shown("Zoë 李.jpg") == "'Zoë 李.jpg'"
    assert shown("new\nline") == r"'new\nline'" and "\udce9" not in shown("caf\udce9")
    assert len(shown("x" * 10_000)) < 210
