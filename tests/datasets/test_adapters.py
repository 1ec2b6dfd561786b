"""Each adapter reads a small tree in the real layout of its dataset, with the traps of the real release."""

import numpy as np
import pytest
from empty_files import touch

from mmreid_uda.datasets import (
    CUHK03NP,
    MSMT17,
    DukeMTMCreID,
    Market1501,
    OccludedDuke,
    PersonX,
    ReIDTestDataset,
    VehicleID,
    VehicleX,
    VeRi776,
    queries_with_match,
    statistics_table,
)
from mmreid_uda.utils import InputError


def summary(dataset):
    return sorted(zip(dataset.pids.tolist(), dataset.camids.tolist()))


@pytest.fixture
def market(tmp_path):
    root = tmp_path / "data" / "market1501" / "Market-1501-v15.09.15"
    touch(root / "bounding_box_train", "0002_c1s1_000451_03.jpg", "0002_c6s1_000551_01.jpg")
    touch(
        root / "bounding_box_train",
        "0007_c3s3_077419_03.jpg",
        "Thumbs.db",
        "._0007_c3s3_077419_03.jpg",
    )
    touch(root / "query", "0001_c1s1_001051_00.jpg", "1501_c6s1_001051_00.jpg", "Thumbs.db")
    touch(root / "bounding_box_test", "-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg")
    touch(
        root / "bounding_box_test",
        "0001_c2s1_000151_01.jpg",
        "1501_c1s1_000151_01.jpg",
        "Thumbs.db",
    )
    return root


def test_market_drops_junk_and_keeps_distractors(market):
    assert summary(Market1501(str(market))) == [(2, 0), (2, 5), (7, 2)]
    assert summary(Market1501(str(market), "query")) == [(1, 0), (1501, 5)]
    assert summary(Market1501(str(market), "gallery")) == [(0, 0), (1, 1), (1501, 0)]


def test_frames_of_market_become_times_and_those_of_two_recordings_are_never_near(market):
    train = Market1501(str(market))
    times = dict(zip(train.pids.tolist(), train.evidence.times))
    assert times[2] == 86400 + 551 / 25 and times[7] == 3 * 86400 + 77419 / 25
    assert (
        Market1501(str(market), "query").evidence.has_times is False
    )  # both at one frame: a filler
    touch(market / "bounding_box_train", "0007_c3_0.jpg")
    assert np.isnan(Market1501(str(market)).evidence.times).sum() == 1


def test_the_cameras_of_duke_have_one_clock(tmp_path):
    root = tmp_path / "dukemtmc" / "bounding_box_train"
    touch(root, "0001_c2_f0046182.jpg", "0001_c5_f0049788.jpg", "0002_c5_f0050000.jpg")
    for kind in (DukeMTMCreID, OccludedDuke):
        times = kind(str(root.parent)).evidence.times
        assert times[0] == times[1] == 49788 / 59.94 and times[2] > times[1]


def test_images_that_somebody_added_are_read_whatever_their_ending(market):
    touch(
        market / "bounding_box_train",
        "1500_c1s1_1_1.png",
        "1500_c1s1_2_1.JPEG",
        "1500_c2s1_3_1.Jpg",
    )
    assert len(Market1501(str(market))) == 6


def test_lists_may_be_written_by_any_editor(msmt, vehicleid, tmp_path):
    for path in (msmt / "list_query.txt", tmp_path / "VehicleID/train_test_split/train_list.txt"):
        text = "\n\n" + path.read_text().replace("/", "\\")
        for content in (text.replace("\n", "\r\n").encode("utf-8-sig"), text.encode("utf-16")):
            path.write_bytes(content)
            assert len(MSMT17(str(msmt), "query")) == 1 and len(VehicleID(vehicleid)) == 3
    for path in (msmt / "list_query.txt", tmp_path / "VehicleID/train_test_split/train_list.txt"):
        path.write_bytes(b"caf\xe9 1\n")
    with pytest.raises(
        InputError, match=r"list_query\.txt' is not utf-8 text: byte 0xe9 in line 1"
    ):
        MSMT17(str(msmt), "query")
    with pytest.raises(InputError, match=r"train_list\.txt' is not utf-8 text"):
        VehicleID(vehicleid)


def test_the_set_is_found_from_its_folder_and_from_those_above(market):
    sets = [Market1501(str(root)) for root in (market, market.parent, market.parent.parent)]
    assert {one.root for one in sets} == {str(market)}
    assert len({one.fingerprint for one in sets}) == 1


@pytest.mark.parametrize(
    "folder", ["Market1501", "Market-1501-v15.09.15", "market-1501", "market_1501"]
)
def test_the_folder_may_have_any_of_its_usual_names(tmp_path, folder):
    touch(tmp_path / folder / "query", "0001_c1s1_001051_00.jpg")
    assert len(Market1501(str(tmp_path), "query")) == 1


def test_a_missing_folder_is_told_with_what_is_there(tmp_path):
    touch(tmp_path / "market1501" / "boxes", "0001_c1s1_001051_00.jpg")
    with pytest.raises(InputError) as caught:
        Market1501(str(tmp_path))
    message = str(caught.value)
    for words in ("'bounding_box_train'", str(tmp_path), "holds 'market1501'", "set data_root"):
        assert words in message
    with pytest.raises(InputError, match=r"data_root '.*nowhere' of market1501 is not a folder"):
        Market1501(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="which holds nothing"):
        Market1501(str(tmp_path / "empty"))


def test_a_missing_test_folder_is_told_with_the_way_to_train_alone(market):
    (market / "query" / "Thumbs.db").unlink()
    for path in (market / "query").iterdir():
        path.unlink()
    (market / "query").rmdir()
    assert len(Market1501(str(market))) == 3
    with pytest.raises(InputError, match=r"found no '.*/query' for split 'query'.*set test=\[\]"):
        Market1501(str(market), "query")


def test_an_empty_folder_is_told(tmp_path):
    touch(tmp_path / "query", "Thumbs.db")
    with pytest.raises(InputError, match=r"found 0 images \(\.jpg, .*\) and 1 other files"):
        Market1501(str(tmp_path), "query")


@pytest.mark.parametrize(
    "name, words",
    [
        ("holiday.jpg", "does not match the file names of market1501"),
        ("1502_c1s1_001051_00.jpg", "identity 1502, expected 0 to 1501"),
        ("0001_c7s1_001051_00.jpg", "camera 7, expected one of 1, 2, 3, 4, 5, 6"),
    ],
)
def test_a_foreign_file_name_is_told(tmp_path, name, words):
    touch(tmp_path / "query", name)
    with pytest.raises(InputError, match=words):
        Market1501(str(tmp_path), "query")


def test_one_identity_cannot_be_trained_on(tmp_path):
    touch(tmp_path / "bounding_box_train", "0002_c1s1_000451_03.jpg", "0002_c6s1_000551_01.jpg")
    with pytest.raises(InputError, match="has 1 identity in 2 images"):
        Market1501(str(tmp_path))


@pytest.mark.parametrize(
    "adapter, folder",
    [
        (DukeMTMCreID, "dukemtmc-reid/DukeMTMC-reID"),
        (DukeMTMCreID, "dukemtmcreid"),
        (DukeMTMCreID, "DukeMTMC"),
        (OccludedDuke, "Occluded_Duke"),
        (OccludedDuke, "Occluded-DukeMTMC-reID"),
    ],
)
def test_duke_and_its_occluded_split(tmp_path, adapter, folder):
    root = tmp_path / folder
    touch(root / "bounding_box_train", "0001_c2_f0046182.jpg", "0005_c8_f0046182.jpg")
    touch(root / "query", "0019_c1_f0051230.jpg")
    touch(root / "bounding_box_test", "0019_c3_f0051230.jpg", "7140_c4_f0051230.jpg")
    assert summary(adapter(str(tmp_path))) == [(1, 1), (5, 7)]
    assert summary(adapter(str(tmp_path), "query")) == [(19, 0)]
    assert summary(adapter(str(tmp_path), "gallery")) == [(19, 2), (7140, 3)]


@pytest.fixture
def msmt(tmp_path):
    root = tmp_path / "msmt17" / "MSMT17_V1"
    lists = {
        "list_train.txt": (
            "train",
            ["0000/0000_000_01_0303morning_0008_0.jpg 0", "0001/0001_001_15_x_1.jpg 1"],
        ),
        "list_val.txt": (
            "train",
            ["0000/0000_045_03_0303noon_0010_0.jpg 0", "0002/0002_000_14_x_1.jpg 2"],
        ),
        "list_query.txt": ("test", ["0000/0000_000_05_0303morning_0001_0.jpg 0"]),
        "list_gallery.txt": ("test", ["0000/0000_002_11_0303noon_0001_0.jpg 0", ""]),
    }
    for name, (folder, lines) in lists.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / name).write_text("\n".join(lines))
        touch(root / folder, *(line.split()[0] for line in lines if line))
    return root


def test_msmt_lists_train_with_the_validation_images_unless_told(msmt):
    assert summary(MSMT17(str(msmt))) == [(0, 0), (0, 2), (1, 14), (2, 13)]
    assert summary(MSMT17(str(msmt.parent.parent), include_val=False)) == [(0, 0), (1, 14)]
    assert summary(MSMT17(str(msmt), "query")) == [(0, 4)]
    assert summary(MSMT17(str(msmt), "gallery")) == [(0, 10)]
    assert MSMT17(str(msmt)).true_labels.tolist() == [0, 0, 1, 2]


def test_the_start_says_which_version_of_msmt_lies_there(msmt):
    def first(root, **options):
        return statistics_table([MSMT17(str(root), **options)]).splitlines()[1].split("  ")[0]

    assert first(msmt) == "msmt17 V1"
    assert first(msmt, name="mine") == "mine V1"
    for part in ("train", "test"):
        (msmt / part).rename(msmt / f"mask_{part}_v2")
    assert first(msmt) == "msmt17 V2", "the folders of the images say more than the one above"
    touch(msmt.parent / "msmt17" / "bounding_box_train", "0000_c1_0001.jpg", "0001_c2_0001.jpg")
    assert first(msmt.parent / "msmt17") == "msmt17", "a re-packed archive does not say"


def test_msmt_version_2_has_masked_folders(msmt):
    (msmt / "train").rename(msmt / "mask_train_v2")
    (msmt / "test").rename(msmt / "mask_test_v2")
    root = msmt.rename(msmt.parent / "MSMT17_V2")
    assert len(MSMT17(str(root.parent.parent))) == 4
    assert "mask_test_v2" in MSMT17(str(root), "query").paths[0]


def test_msmt_in_the_layout_of_market(tmp_path):
    root = tmp_path / "MSMT17_V1"
    touch(root / "bounding_box_train", "0000_c1_0001.jpg", "0001_c15_0030.jpg")
    touch(root / "query", "0000_c14_0001.jpg")
    assert summary(MSMT17(str(tmp_path))) == [(0, 0), (1, 14)]
    assert summary(MSMT17(str(tmp_path), "query")) == [(0, 13)]
    with pytest.raises(InputError, match="set include_val=True"):
        MSMT17(str(tmp_path), include_val=False)


def test_msmt_lists_that_do_not_fit_are_told(msmt):
    (msmt / "list_query.txt").write_text("0000/0000_000_05_0303morning_0001_0.jpg zero\n")
    with pytest.raises(InputError, match=r"list_query\.txt:1 reads .* integer identity"):
        MSMT17(str(msmt), "query")
    (msmt / "list_gallery.txt").write_text("0000/0000_999_05_0303morning_0001_0.jpg 0\n")
    with pytest.raises(InputError, match=r"1 of the 1 images listed in .* do not exist"):
        MSMT17(str(msmt), "gallery")
    (msmt / "list_gallery.txt").write_text("0000/0000_002_16_0303noon_0001_0.jpg 0\n")
    with pytest.raises(InputError, match="camera 16"):
        MSMT17(str(msmt), "gallery")
    (msmt / "list_val.txt").unlink()
    with pytest.raises(InputError, match=r"found no 'list_val\.txt'"):
        MSMT17(str(msmt))
    assert len(MSMT17(str(msmt), include_val=False)) == 2
    (msmt / "train").rename(msmt / "pictures")
    with pytest.raises(InputError, match="found neither 'train' nor 'mask_train_v2'"):
        MSMT17(str(msmt), include_val=False)


@pytest.mark.parametrize("labeled", ["labeled", "labelled"])
def test_cuhk03_finds_its_variant(tmp_path, labeled):
    root = tmp_path / "cuhk03-np"
    touch(root / "detected" / "query", "0003_c1_22.png")
    touch(root / labeled / "query", "0001_c1_00_00001.png", "0002_c2_00_00002.png", "notes.txt")
    detected = CUHK03NP(str(tmp_path), "query")
    assert summary(detected) == [(3, 0)] and detected.name == "cuhk03np-detected"
    assert summary(CUHK03NP(str(tmp_path), "query", variant="labeled")) == [(1, 0), (2, 1)]
    assert summary(CUHK03NP(str(root / labeled), "query", variant="labeled")) == [(1, 0), (2, 1)]
    with pytest.raises(InputError, match="leads to the labeled boxes, expected the detected ones"):
        CUHK03NP(str(root / labeled), "query", variant="detected")
    with pytest.raises(InputError, match="variant='both'"):
        CUHK03NP(str(tmp_path), "query", variant="both")


def test_personx_maps_its_six_cameras(tmp_path):
    names = [f"000{pid}_c{camera}s1_1.jpg" for pid, camera in enumerate((3, 4, 8, 10, 11, 12), 1)]
    touch(tmp_path / "PersonX" / "bounding_box_train", *names)
    assert summary(PersonX(str(tmp_path))) == [(pid, pid - 1) for pid in range(1, 7)]
    touch(tmp_path / "PersonX" / "bounding_box_train", "0001_c5s1_1.jpg")
    with pytest.raises(InputError, match="camera 5, expected one of 3, 4, 8, 10, 11, 12"):
        PersonX(str(tmp_path))


def test_veri_has_cameras_of_three_digits_and_list_files_beside(tmp_path):
    root = tmp_path / "VeRi"
    touch(root, "name_train.txt", "gt_index.txt", "jk_index.txt")
    touch(root / "image_train", "0001_c001_00016450_0.jpg", "0776_c020_00084180_0.jpg")
    touch(root / "image_query", "0002_c002_00030600_0.jpg")
    touch(root / "image_test", "0002_c003_00030600_0.jpg")
    assert summary(VeRi776(str(tmp_path))) == [(1, 0), (776, 19)]
    assert summary(VeRi776(str(root), "query")) == [(2, 1)]
    assert summary(VeRi776(str(root), "gallery")) == [(2, 2)]
    assert VeRi776.input_size == (224, 224)


def test_vehiclex_is_a_source_only(tmp_path):
    touch(tmp_path / "AIC20_ReID_Simulation" / "image_train", "0001_c006_1.jpg", "1362_c036_2.jpg")
    assert summary(VehicleX(str(tmp_path))) == [(1, 0), (1362, 30)]
    with pytest.raises(InputError, match="vehiclex has no split 'query', only train"):
        VehicleX(str(tmp_path), "query")


@pytest.fixture
def vehicleid(tmp_path):
    root = tmp_path / "VehicleID"
    train = [("0000001", 10), ("0000002", 10), ("0000003", 9)]
    test = [(f"00{number:05d}", 100 + number % 5) for number in range(100, 130)] + [
        ("0000777", 999)
    ]
    touch(root, *(f"image/{image}.jpg" for image, _ in train + test))
    (root / "train_test_split").mkdir()
    for name, lines in (("train_list.txt", train), ("test_list_800.txt", test)):
        text = "".join(f"{image} {pid}\n" for image, pid in lines)
        (root / "train_test_split" / name).write_text(text)
    return str(tmp_path)


def test_vehicleid_trains_without_cameras(vehicleid):
    train = VehicleID(vehicleid)
    assert train.pids.tolist() == [10, 10, 9] and train.true_labels.tolist() == [1, 1, 0]
    assert not train.has_cameras and train.camids.tolist() == [0, 1, 2]


def test_vehicleid_draws_one_gallery_image_per_identity_from_its_seed(vehicleid):
    query, gallery = (VehicleID(vehicleid, split) for split in ("query", "gallery"))
    assert sorted(gallery.pids) == [100, 101, 102, 103, 104, 999]
    assert len(query) == 25 and not set(query.paths) & set(gallery.paths)
    assert len(set(query.paths) | set(gallery.paths)) == 31
    assert VehicleID(vehicleid, "gallery").paths == gallery.paths
    draws = {tuple(VehicleID(vehicleid, "gallery", seed=seed).paths) for seed in range(5)}
    assert len(draws) > 1


def test_vehicleid_without_cameras_lets_every_match_count(vehicleid):
    query, gallery = (VehicleID(vehicleid, split) for split in ("query", "gallery"))
    assert not query.camera_known.any() and not gallery.camera_known.any()
    test = ReIDTestDataset([{"query": query, "gallery": gallery}])
    parts = test.is_query, ~test.is_query
    (pids, others), (camids, theirs) = (
        [v[part] for part in parts] for v in (test.pids, test.camids)
    )
    assert queries_with_match(pids, camids, others, theirs).all()


def test_vehicleid_lists_that_do_not_fit_are_told(vehicleid, tmp_path):
    with pytest.raises(InputError, match=r"found no 'test_list_1600\.txt' .* set test_size"):
        VehicleID(vehicleid, "query", test_size=1600)
    path = tmp_path / "VehicleID" / "train_test_split" / "train_list.txt"
    path.write_text("0000001 10\n0000002,10\n")
    with pytest.raises(InputError, match=r"train_list\.txt:2 reads '0000002,10'"):
        VehicleID(vehicleid)
