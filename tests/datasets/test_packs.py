"""Packs: read as the folders they were made of, to the last bit, by whoever reads images."""

import errno
import multiprocessing
import os
import pickle
import resource
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from torch.utils.data import DataLoader

sys.path.append(str(Path(__file__).parents[2] / "tools" / "data"))
from pack import folder_of, pack_folder

from mmreid_uda.apis.ingest import Ingest, find_images
from mmreid_uda.apis.inputs import list_inputs, name_images
from mmreid_uda.datasets import (
    MSMT17,
    CSVReIDDataset,
    FolderReIDDataset,
    Market1501,
    ReIDTestDataset,
    VehicleID,
    build_dataset,
    pack_writer,
    packs,
)
from mmreid_uda.datasets.files import (
    decodable,
    is_file,
    list_images,
    read_file,
    subfolders,
    walk_images,
)
from mmreid_uda.datasets.links import append_links
from mmreid_uda.datasets.transforms import LoadReIDImage, reid_collate
from mmreid_uda.gallery import FileGallery, GallerySettings, Items
from mmreid_uda.utils import InputError, make_rng

pytest.importorskip("lmdb")
PIPELINE = [
    {"type": "LoadReIDImage"},
    {"type": "Resize", "scale": (8, 16)},
    {"type": "RandomHorizontalFlip"},
    {"type": "PackReIDInputs"},
]


def write_images(folder, *names):
    """PNG files of different pixels, whatever the ending says."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = make_rng(number, "pack").integers(0, 256, (9, 5, 3), np.uint8)
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def read_by(loader):
    """All there is to know of the batches."""
    return [(batch["inputs"].tolist(), batch["samples"]["gt_label"].tolist()) for batch in loader]


def assert_same(packed, plain):
    """Two datasets are one but for where they lie."""
    assert packed.fingerprint == plain.fingerprint and packed.name == plain.name
    assert [os.path.relpath(one, packed.root) for one in packed.paths] == [
        os.path.relpath(one, plain.root) for one in plain.paths
    ]
    for attribute in ("pids", "camids", "true_labels", "camera_known"):
        assert getattr(packed, attribute).tolist() == getattr(plain, attribute).tolist()
    for attribute in ("cameras", "times", "tracklets"):
        np.testing.assert_array_equal(
            getattr(packed.evidence, attribute), getattr(plain.evidence, attribute)
        )
    assert packed.evidence.links.first.tolist() == plain.evidence.links.first.tolist()
    assert list(map(read_file, packed.paths)) == [Path(one).read_bytes() for one in plain.paths]


def test_a_pack_stands_for_its_folder_with_names_of_any_kind(tmp_path):
    odd = [
        "é.jpg",
        "b\n.jpg",
        "a b'\".jpg",
        "z" * 240 + ".jpg",
        "日本.PNG",
        os.fsdecode(b"\xff.jpg"),
    ]
    nested = [
        f"{'deep ' * 40}/{'er' * 100}/{'x' * 200}.jpg",
        "cam2/7/1.jpg",
        "cam2/7.jpg",
        "cam2-/1.jpg",
    ]
    crops = tmp_path / "crops"
    write_images(crops, *odd, *nested)
    (crops / "broken.jpg").write_bytes(b"no image")
    (crops / ".hidden.jpg").write_bytes(b"")
    (crops / "notes").mkdir()
    (crops / "notes" / "of.txt").write_text("kept")
    pack_folder(str(crops), str(tmp_path / "crops.pack"))
    assert (tmp_path / "crops.pack" / "notes" / "of.txt").read_text() == "kept"
    plain = FolderReIDDataset(str(crops), labels="unlabeled", folders="camera")
    packed = FolderReIDDataset(str(tmp_path / "crops.pack"), labels="unlabeled", folders="camera")
    assert len(packed) == 11
    assert_same(packed, plain)
    assert walk_images(f"{tmp_path}/crops.pack/cam2/") == ["7.jpg", "7/1.jpg"]
    assert subfolders(f"{tmp_path}/crops.pack") == subfolders(str(crops))
    assert list_images(f"{tmp_path}/crops.pack/cam2") == ["7.jpg"]
    assert not any(is_file(f"{tmp_path}/crops.pack/{one}") for one in (" .jpg", "cam2", "cam2/7"))
    assert walk_images(f"{tmp_path}/crops.pack//cam2//") == ["7.jpg", "7/1.jpg"]
    assert len(walk_images(f"{tmp_path}/crops.pack//")) == 11
    assert read_file(f"{tmp_path}/crops.pack//cam2/7.jpg") == (crops / "cam2/7.jpg").read_bytes()
    # Other spellings, links to the pack, a folder inside it, and the folder that it lies in.
    (tmp_path / "link").symlink_to(tmp_path / "crops.pack")
    inside = build_dataset(f"{tmp_path}/link/./cam2/../cam2", "train", labels="unlabeled")
    assert inside.paths == [f"{tmp_path}/link/./cam2/../cam2/{one}" for one in ("7.jpg", "7/1.jpg")]
    assert len(list_inputs(str(tmp_path / "crops.pack"))) == 11
    above = FolderReIDDataset(str(tmp_path), labels="unlabeled")
    assert len(above) == 22 and "11 of 33 entries" in above.notes[-1]
    kept = FolderReIDDataset(str(tmp_path / "crops.pack"), labels="unlabeled", corrupt="skip")
    assert len(kept) == 10 and not decodable(f"{tmp_path}/crops.pack/broken.jpg")
    with pytest.raises(InputError, match="does not exist"):
        LoadReIDImage()({"img_path": f"{tmp_path}/crops.pack/cam2/8.jpg"})


def test_images_in_a_pack_are_named_as_files_are_and_copies_take_no_turns(tmp_path):
    write_images(tmp_path / "crops", "door/a.jpg", "hall/b.jpg")
    content = (tmp_path / "crops" / "door" / "a.jpg").read_bytes()
    (tmp_path / "crops" / "hall" / "copy.jpg").write_bytes(content)
    pack_folder(str(tmp_path / "crops"), str(tmp_path / "crops.pack"))
    for word in (f"{tmp_path}/crops.pack/door", f"{tmp_path}/crops.pack/hall/b.jpg"):
        expected = [word if word.endswith(".jpg") else f"{word}/a.jpg"]
        assert find_images([word]).paths == name_images(Config({}), [word]).paths == expected
    gallery = FileGallery(Items.of(None, []), GallerySettings())
    found, ingest = find_images([f"{tmp_path}/crops.pack"]), Ingest(gallery, unit_features, 1)
    assert ingest(found).added == 2
    assert (report := ingest(found)).changed == 0 and report.present == 3


def unit_features(paths):
    return np.eye(4, dtype=np.float32)[: len(paths)]


def test_published_sets_find_their_folders_in_a_pack(tmp_path):
    names = [
        f"{part}/000{pid}_c{camera}s1_000{frame}51_01.jpg"
        for part, pids in (
            ("bounding_box_train", (1, 2)),
            ("query", (3,)),
            ("bounding_box_test", (3, 4)),
        )
        for pid in pids
        for camera, frame in ((1, 4), (2, 5))
    ]
    write_images(tmp_path / "Market-1501", *names)
    pack_folder(folder_of("market1501", str(tmp_path)), str(tmp_path / "packs" / "market1501.pack"))
    for split in ("train", "query", "gallery"):
        packed = Market1501(str(tmp_path / "packs"), split)
        assert packed.root == str(tmp_path / "packs" / "market1501.pack")
        assert_same(packed, Market1501(str(tmp_path / "Market-1501"), split))
    ids = np.arange(1, 7)
    write_images(tmp_path / "vehicleid", *[f"image/{one}.jpg" for one in ids])
    lists = tmp_path / "vehicleid" / "train_test_split"
    lists.mkdir()
    (lists / "train_list.txt").write_text("".join(f"{one} {one % 2}\n" for one in ids))
    pack_folder(str(tmp_path / "vehicleid"), str(tmp_path / "v.pack"))
    assert_same(VehicleID(str(tmp_path / "v.pack")), VehicleID(str(tmp_path / "vehicleid")))
    msmt = tmp_path / "MSMT17_V1"
    write_images(
        msmt, *[f"train/000{one}/000{one}_000_01_0303morning_0008_0.jpg" for one in (0, 1)]
    )
    lines = "".join(f"000{one}/000{one}_000_01_0303morning_0008_0.jpg {one}\n" for one in (0, 1))
    (msmt / "list_train.txt").write_text(lines)
    (msmt / "list_val.txt").write_text("")
    pack_folder(str(msmt), str(tmp_path / "MSMT17_V1.pack"))
    packed = MSMT17(str(tmp_path / "MSMT17_V1.pack"))
    assert_same(packed, MSMT17(str(msmt)))
    assert packed.version == "V1"


def test_what_is_too_large_is_left_out_and_told(tmp_path, monkeypatch):
    write_images(tmp_path / "crops", "a.jpg")
    (tmp_path / "crops" / "film.mp4").write_bytes(bytes(9))
    (tmp_path / "crops" / "notes").write_bytes(bytes(8))
    (tmp_path / "crops" / "crops.csv").write_bytes(bytes(9))  # of ten million rows
    monkeypatch.setattr(sys.modules["pack"], "_LARGEST", 8)
    told = pack_folder(str(tmp_path / "crops"), str(tmp_path / "crops.pack"))
    assert "left out" in told and "'film.mp4'" in told
    assert set(os.listdir(tmp_path / "crops.pack")) == {packs.IMAGES, "crops.csv", "notes"}


def test_tables_and_links_lie_beside_the_packed_images(tmp_path):
    shop = tmp_path / "shop"
    write_images(shop, "door/a\u0301.jpg", "door/b.jpg", "hall/c.jpg")
    (shop / "copy.jpg").symlink_to(shop / "hall" / "c.jpg")
    (shop / "hall" / "z.jpg").symlink_to(shop / "door" / "b.jpg")
    rows = [
        "door/a\u0301.jpg,1,door,0.5,t1",
        "door/b.jpg,2,door,1.5,t1",
        "hall/c.jpg,1,hall,,",
        "copy.jpg,1,,,",
    ]
    (shop / "crops.csv").write_text("path,pid,camid,time,tracklet\n" + "\n".join(rows) + "\n")
    # The table of links writes the accent composed, the file's name has it apart.
    links = [{"path_a": "door/\u00e1.jpg", "path_b": "copy.jpg", "kind": "must"}]
    append_links(str(shop / "links.csv"), links)
    pack_folder(folder_of(str(shop / "crops.csv"), "data"), str(tmp_path / "shop.pack"))
    plain, packed = (
        CSVReIDDataset(str(tmp_path / one), ann_file="crops.csv", links="links.csv")
        for one in ("shop", "shop.pack")
    )
    assert len(packed) == 3 and len(packed.evidence.links) == 1
    assert read_file(f"{packed.root}/hall/z.jpg") == (shop / "door" / "b.jpg").read_bytes()
    assert_same(packed, plain)
    links = [{"path_a": "door/b.jpg", "path_b": "copy.jpg", "kind": "cannot"}]
    append_links(str(tmp_path / "shop.pack" / "links.csv"), links)
    assert len(packed.read_links()[0]) == 2
    pair = {"query": packed, "gallery": build_dataset(f"{tmp_path}/shop.pack/crops.csv", "train")}
    numbers = ReIDTestDataset([pair], same_camera="keep")
    assert len(numbers.is_query) == 3  # a query and its gallery image are one file, read once


def test_workers_open_the_pack_themselves_and_give_the_folder_s_batches(tmp_path):
    write_images(tmp_path / "crops", *[f"{one}/{two}.jpg" for one in range(4) for two in range(4)])
    pack_folder(str(tmp_path / "crops"), str(tmp_path / "crops.pack"))
    plain, packed = (
        FolderReIDDataset(str(tmp_path / one), pipeline=PIPELINE) for one in ("crops", "crops.pack")
    )
    expected = read_by(DataLoader(plain, 4, collate_fn=reid_collate))
    assert read_by(DataLoader(packed, 4, collate_fn=reid_collate)) == expected
    # Forked from a process that has it open, and one that was spawned, which has not.
    workers = DataLoader(packed, 4, collate_fn=reid_collate, num_workers=2)
    assert workers.multiprocessing_context is None and read_by(workers) == expected
    packs.forget_packs()
    assert read_by(DataLoader(pickle.loads(pickle.dumps(packed)), 4, collate_fn=reid_collate)) == (
        expected
    )


def _killed_while_packing(crops, out):
    """Commits after every fourth image, and a kill before the 21st of 40."""
    add = pack_writer.PackWriter.add

    def killed(self, content):
        if len(self.left) % 4 == 0:
            self.commit()
        if len(self.left) == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        add(self, content)

    pack_writer.PackWriter.add = killed
    pack_folder(crops, out)


def test_a_killed_packing_goes_on_and_never_looks_whole(tmp_path, monkeypatch):
    crops, out = tmp_path / "crops", tmp_path / "crops.pack"
    write_images(crops, *[f"{one:03}.jpg" for one in range(40)])
    process = multiprocessing.get_context("fork").Process(
        target=_killed_while_packing, args=(str(crops), str(out))
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and not out.exists()
    half = tmp_path / ".crops.pack.part"
    with pytest.raises(InputError, match="was not finished"):
        FolderReIDDataset(str(half), labels="unlabeled")
    left = []
    add = pack_writer.PackWriter.add
    monkeypatch.setattr(
        pack_writer.PackWriter, "add", lambda self, content: left.append(1) or add(self, content)
    )
    pack_folder(str(crops), str(out))
    assert len(left) == 20 and not half.exists()
    assert list(map(read_file, map(str, sorted(crops.iterdir())))) == [
        read_file(f"{out}/{one:03}.jpg") for one in range(40)
    ]
    assert "already" in pack_folder(str(crops), str(out))
    with pytest.raises(InputError, match="pack of other images"):
        pack_folder(str(crops), str(out), size=(4, 2))
    write_images(crops, "041.jpg")
    with pytest.raises(InputError, match="pack of other images"):
        pack_folder(str(crops), str(out))
    pack_folder(str(crops), str(tmp_path / "small.pack"), size=(4, 2))
    assert LoadReIDImage()({"img_path": f"{tmp_path}/small.pack/041.jpg"})["img"].shape == (4, 2, 3)


def test_images_that_changed_since_a_packing_was_cut_off_are_read_again(tmp_path):
    write_images(tmp_path / "crops", "a.jpg", "b.jpg")
    half = pack_writer.PackWriter(
        str(tmp_path / ".crops.pack.part"), ["a.jpg", "b.jpg"], [0, 1], "other"
    )
    half.add(b"old")
    half.commit()
    half.close()
    for left in ("crops.csv", "lists/train.txt"):
        (tmp_path / ".crops.pack.part" / left).parent.mkdir(exist_ok=True)
        (tmp_path / ".crops.pack.part" / left).touch()
    pack_folder(str(tmp_path / "crops"), str(tmp_path / "crops.pack"))
    assert os.listdir(tmp_path / "crops.pack") == [packs.IMAGES]
    (tmp_path / ".junk.pack.part").mkdir()
    (tmp_path / ".junk.pack.part" / packs.IMAGES).write_bytes(b"no database" * 1000)
    pack_folder(str(tmp_path / "crops"), str(tmp_path / "junk.pack"))
    assert read_file(f"{tmp_path}/crops.pack/a.jpg") == (tmp_path / "crops" / "a.jpg").read_bytes()


def test_images_are_joined_up_to_a_size_and_written_from_time_to_time(tmp_path, monkeypatch):
    lmdb = pytest.importorskip("lmdb")
    monkeypatch.setattr(pack_writer, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(pack_writer, "_COMMIT_BYTES", 160)
    writer = pack_writer.PackWriter(str(tmp_path), list("abcdefg"), range(7), "plan")
    chunks = []
    # With 8 bytes before each: just one chunk, one byte too many, and what is written ends a chunk.
    for size in (42, 42, 42, 43, 42, 42, 42):
        writer.add(bytes(size))
        chunks.append(writer._env.stat()["entries"] - 1)
    assert chunks == [0, 0, 0, 3, 3, 3, 3]
    writer.commit()
    assert writer._env.stat()["entries"] - 1 == 5

    class Full:
        def begin(self, write):
            raise lmdb.DiskError("no room")

    monkeypatch.setattr(writer, "_env", Full())
    with pytest.raises(OSError) as error:
        writer.finish()
    assert error.value.errno == errno.ENOSPC


def _packed_without_room(crops, out, said):
    """No file may be larger than 64 KiB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    with pytest.raises(InputError) as error:
        pack_folder(crops, out)
    said.send(str(error.value))


def test_a_full_disk_is_told_in_a_sentence_and_what_is_packed_stays_right(tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    for number in range(9):
        content = make_rng(number, "pack").integers(0, 256, 30_000, np.uint8)
        (crops / f"{number}.jpg").write_bytes(content.tobytes())
    told, said = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_packed_without_room, args=(str(crops), str(tmp_path / "crops.pack"), said)
    )
    process.start()
    said.close()
    assert "crops.pack' cannot be written" in told.recv()
    process.join()
    pack_folder(str(crops), str(tmp_path / "crops.pack"))
    stat = packs.opened_pack(str(tmp_path / "crops.pack"))._env.stat()
    assert stat["entries"] == 6 + 9, "images of more than 16 KiB have chunks of their own"
    for path in crops.iterdir():
        assert read_file(f"{tmp_path}/crops.pack/{path.name}") == path.read_bytes()


def test_damage_and_lacks_are_told_in_a_sentence(tmp_path, monkeypatch):
    crops, out = tmp_path / "crops", tmp_path / "crops.pack"
    write_images(crops, "a.jpg", "b.jpg")
    (crops / "lost.jpg").symlink_to(crops / "nowhere.jpg")
    with pytest.raises(InputError, match=r"lost\.jpg' cannot be read"):
        pack_folder(str(crops), str(out))
    (crops / "lost.jpg").unlink()
    (crops / "list.txt").symlink_to(crops / "nowhere.txt")
    with pytest.raises(InputError, match=r"crops/list\.txt' cannot be read"):
        pack_folder(str(crops), str(out))
    (crops / "list.txt").unlink()
    with pytest.raises(InputError, match="in the folder"):
        pack_folder(str(crops), str(crops / "a.pack"))
    pack_folder(str(crops), str(out))
    file = out / packs.IMAGES
    whole = file.read_bytes()
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match="no package `lmdb`"):
        FolderReIDDataset(str(out), labels="unlabeled")
    monkeypatch.undo()
    content = (crops / "b.jpg").read_bytes()
    for damaged, said in (
        (whole.replace(content, content[::-1]), "cannot be read .*damaged there"),
        (whole[: len(whole) // 2], "no whole pack .* bytes"),
        (b"", "no whole pack"),
        (b"no database" * 1000, "no whole pack"),
    ):
        copy = tmp_path / f"{len(damaged)}-{damaged[:1].hex()}"
        copy.mkdir()
        (copy / packs.IMAGES).write_bytes(damaged)
        with pytest.raises(InputError, match=said):
            load = LoadReIDImage()
            for one in ("a.jpg", "b.jpg"):
                assert load({"img_path": f"{copy}/{one}"})["img"].shape == (9, 5, 3)
