"""A gallery in a folder: what is acknowledged is there after a kill, and one process at a time works in it."""

import json
import shutil
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
from deployment import no_room_beyond
from gallery_crashes import kill_while_adding
from gallery_items import made

from mmreid_uda.gallery import (
    FileGallery,
    Filter,
    GallerySettings,
    export_items,
    import_items,
    open_gallery,
)
from mmreid_uda.gallery import embedded as module
from mmreid_uda.utils import InputError

pytest.importorskip("qdrant_edge")


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_a_kill(tmp_path):
    report = kill_while_adding(tmp_path / "g", kills=2)
    assert report["kills"] == 2 and report["lost"] == 0 and report["items"] > 10


def test_the_log_alone_holds_what_was_acknowledged(tmp_path):
    """As after a power cut: the items' files as they were flushed last, and the log as fsync has left it."""
    folder, cut = tmp_path / "g", tmp_path / "cut"
    with open_gallery(folder, create=GallerySettings()) as gallery:
        gallery.add(made(10))
        gallery.flush()
        shutil.copytree(folder, cut)
        gallery.add(made(10, seed=1))
        gallery.update(made(10).ids[:2], identity="eve")
        shutil.rmtree(cut / "items-1" / "wal")
        shutil.copytree(folder / "items-1" / "wal", cut / "items-1" / "wal")
    with open_gallery(cut) as gallery:
        assert len(gallery) == 20
        assert gallery.get(made(10).ids[:3]).identities.tolist()[:2] == ["eve", "eve"]


def test_the_engine_flushes_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FLUSH_EVERY", 8)
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        for seed in range(3):
            gallery.add(made(5, seed=seed))
        assert gallery._flushed == 10 and gallery._on_disk == gallery._changes == 15


def test_one_process_at_a_time(tmp_path):
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'a+'); fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(made(2))
    holder = json.loads((tmp_path / "g" / ".lock").read_text())
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "g" / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="open in another process") as caught:
            open_gallery(tmp_path / "g")
        assert f"(process {holder['pid']} on" in str(caught.value) and "serve" in str(caught.value)
        other.stdin.close()
    with (
        open_gallery(tmp_path / "g") as gallery,
        pytest.raises(InputError, match="open in this process already"),
    ):
        open_gallery(tmp_path / "g")
    with pytest.raises(InputError, match="closed, expected an open one"):
        len(gallery)
    gallery.close()
    with open_gallery(tmp_path / "g") as gallery:
        assert len(gallery) == 2


def test_a_folder_that_holds_no_gallery_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="found no gallery in"):
        open_gallery(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with open_gallery(tmp_path / "g", create=GallerySettings(), dim=8) as gallery:
        gallery.add(made(2))
    content = json.loads((tmp_path / "g" / "gallery.json").read_text())
    (tmp_path / "g" / "gallery.json").write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(InputError, match="in the form 99, expected 1 to 1"):
        open_gallery(tmp_path / "g")
    (tmp_path / "g" / "gallery.json").unlink()
    with pytest.raises(InputError, match=r"found items without gallery.json"):
        open_gallery(tmp_path / "g", create=GallerySettings())
    (tmp_path / "g" / "gallery.json").write_text(json.dumps(content))
    for one in (tmp_path / "g" / "items-1" / "segments").iterdir():
        (one / "segment.json").unlink()
    shutil.rmtree(tmp_path / "g" / "items-1" / "wal")
    (tmp_path / "g" / "items-1" / "wal").write_text("no folder")
    with pytest.raises(InputError, match="engine of the gallery"):
        open_gallery(tmp_path / "g")


def test_a_failed_optimization_leaves_the_items_as_they_were(tmp_path, monkeypatch):
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(made(9))
        monkeypatch.setattr(module, "_OPTIMIZE", "raise SystemExit('no room')")
        with pytest.raises(InputError, match="no room"):
            gallery.optimize()
        assert len(gallery) == 9
        assert [one.name for one in (tmp_path / "g").glob("items-*")] == ["items-1"]


def test_what_an_interrupted_optimization_has_left_is_removed(tmp_path):
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(made(9))
    (tmp_path / "g" / "items-2").mkdir()
    with open_gallery(tmp_path / "g", read_only=True) as gallery:
        assert len(gallery) == 9 and not (tmp_path / "g" / "items-2").exists()


def test_export_and_import(tmp_path):
    items = made(30)
    with open_gallery(tmp_path / "g", create=GallerySettings(fingerprint="a" * 64)) as gallery:
        gallery.add(items)
        assert export_items(gallery, tmp_path / "g.npz") == 30
    loaded = FileGallery.load(tmp_path / "g.npz")
    assert loaded.items.fields == items.take(np.argsort(items.ids)).fields
    with open_gallery(tmp_path / "h", create=GallerySettings()) as other:
        other.add(items.take([3]).with_columns(identities=np.array(["old"])))
        assert import_items(other, tmp_path / "g.npz") == 30
        assert len(other) == 30 and other.fingerprint == "a" * 64
        assert other.count() == 30
        np.testing.assert_array_equal(other.get(items.ids, features=True).features, items.features)
    with (
        open_gallery(tmp_path / "k", create=GallerySettings(fingerprint="b" * 64)) as other,
        pytest.raises(InputError, match="was made by a model"),
    ):
        import_items(other, tmp_path / "g.npz")


def test_copies_beside_the_items_are_the_users(tmp_path):
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(made(9))
    shutil.copytree(tmp_path / "g" / "items-1", tmp_path / "g" / "items-1-backup")
    with open_gallery(tmp_path / "g") as gallery:
        gallery.compact()
    open_gallery(tmp_path / "g").close()
    assert (tmp_path / "g" / "items-1-backup" / "edge_config.json").exists()


def test_lost_items_are_told_and_not_taken_for_an_empty_gallery(tmp_path):
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(made(9))
    (tmp_path / "g" / "items-1").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="without items-1"):
        open_gallery(tmp_path / "g")
    (tmp_path / "elsewhere").rename(tmp_path / "g" / "items-1")
    with open_gallery(tmp_path / "g") as gallery:
        assert len(gallery) == 9


def test_a_place_that_was_made_and_not_named_is_made_anew(tmp_path):
    """As after a kill while the first items were added."""
    with open_gallery(tmp_path / "g", create=GallerySettings()):
        content = (tmp_path / "g" / "gallery.json").read_text()
    with open_gallery(tmp_path / "g") as gallery:
        gallery.add(made(9))
    (tmp_path / "g" / "gallery.json").write_text(content)
    with open_gallery(tmp_path / "g") as gallery:
        assert len(gallery) == 0
        gallery.add(made(3, dim=5))
        assert len(gallery.search(np.eye(1, 5))[0]) == 3


@pytest.mark.parametrize("work", ["compact", "optimize"])
def test_what_is_added_after_a_failed_takeover_is_kept(tmp_path, monkeypatch, work):
    """A disk that is full when the settings are written, which name the items."""
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(made(9))
        with monkeypatch.context() as full:
            full.setattr(module, "write_json", Mock(side_effect=InputError("no room")))
            with pytest.raises(InputError, match="no room"):
                getattr(gallery, work)()
        gallery.add(made(5, seed=1))
    with open_gallery(tmp_path / "g") as gallery:
        assert len(gallery) == 14


def test_a_gallery_whose_settings_cannot_be_written_stays_empty(tmp_path, monkeypatch):
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        with monkeypatch.context() as full:
            full.setattr(module, "write_json", Mock(side_effect=InputError("no room")))
            with pytest.raises(InputError, match="no room"):
                gallery.add(made(9))
        assert gallery.dim == 0 and len(gallery) == 0
        gallery.add(made(2, dim=5))
        assert len(gallery.search(np.eye(1, 5))[0]) == 2


def test_a_disk_that_is_nearly_full_takes_no_items_and_lets_them_go(tmp_path, monkeypatch):
    """The engine writes through memory: on a full disk the system would end the process."""
    usage = shutil.disk_usage(tmp_path)
    items = made(9)
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(items)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=99 << 20))
        with pytest.raises(InputError, match="99 MiB free on the disk"):
            gallery.add(made(5, seed=1))
        for work in (gallery.compact, gallery.optimize):
            with pytest.raises(InputError, match="99 MiB free"):
                work()
        gallery.update(items.ids[:1], identity="eve")
        assert gallery.delete(Filter(ids=items.ids[1:3])) == 2 and len(gallery) == 7
        assert [one.name for one in (tmp_path / "g").glob("items-*")] == ["items-1"]
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        assert gallery.add(made(5, seed=1)) == 5


def test_errors_of_the_engine_and_the_disk_are_sentences(tmp_path):
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(made(9))
        with no_room_beyond(100_000):
            for work in (gallery.compact, gallery.optimize):
                with pytest.raises(InputError, match="has failed") as raised:
                    work()
                assert len(str(raised.value)) < 600
        assert len(gallery) == 9
        gallery.compact()
