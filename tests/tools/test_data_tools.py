"""Made-up releases, checked and converted from the command line."""

import gc
import importlib.util
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from mmreid_uda.datasets import CUHK03NP, OccludedDuke
from mmreid_uda.utils import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _quick_collections():
    """mmengine collects garbage for every dataset it builds: keep the imported libraries out of it."""
    gc.freeze()
    yield
    gc.unfreeze()


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / "data" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a tool's main with arguments: (exit status, what it printed)."""

    def call(name, *arguments):
        monkeypatch.syspath_prepend(ROOT / "tools" / "data")
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        status = 0
        try:
            load(name).main()
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().out

    return call


def write_image(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 4, 3), value % 256, np.uint8))


TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


@pytest.fixture
def market(tmp_path):
    """Four people in Market-1501's layout; the query of person 4 has its match in its own camera alone."""
    root = tmp_path / "data" / "market1501"
    names = {
        TRAIN: ["0001_c1s1_1_1.jpg", "0001_c2s1_2_1.jpg", "0002_c1s1_3_1.jpg", "0002_c2s1_4_1.jpg"],
        QUERY: ["0003_c1s1_1_1.jpg", "0004_c1s1_2_1.jpg"],
        GALLERY: ["0003_c2s1_3_1.jpg", "0004_c1s1_4_1.jpg", "0000_c3s1_5_1.jpg"],
    }
    value = 0
    for folder, files in names.items():
        for name in files:
            write_image(root / folder / name, value := value + 20)
    return root


def test_every_deviation_from_the_published_counts_is_a_problem(run, market):
    status, text = run("check_dataset", "market1501", "--data-root", market.parent)
    assert status == 1
    assert "problem: market1501 train has 2 identities, published are 751" in text
    assert "problem: market1501 gallery has 3 images, published are 15,913" in text
    assert "problem: market1501 shows 3 cameras, published are 6" in text
    assert "note: 1 of the 2 queries have no match from another camera" in text
    assert "note: 1 gallery images are distractors" in text
    assert "note: 1 cameras of the test images have no training image" in text
    assert "decoded" not in text and "in training and" not in text and "also trained on" not in text
    assert text.endswith("7 problems found\n")


def test_the_published_counts_are_those_of_the_documentation():
    rows = re.findall(
        r"^\| `([\w-]+)` \|[^|]*\|(.*)\|$", (ROOT / "docs" / "data.md").read_text(), re.M
    )
    rows = dict(rows)
    for name, splits in load("dataset_checks").PUBLISHED.items():
        for (ids, images), cell in zip(splits.values(), rows[name].split("|")):
            shown = [
                f"{one[0]:,}–{one[-1]:,}" if isinstance(one, range) else f"{one:,}"
                for one in (ids, images)
            ]
            assert name == "vehicleid" or " / ".join(shown) in cell, (name, cell)


def test_broken_files_leaks_and_shared_people_are_problems(run, market, monkeypatch):
    (market / TRAIN / "0001_c1s1_1_1.jpg").write_bytes(b"no image")
    (market / QUERY / "0002_c3s1_9_1.jpg").write_bytes(
        (market / TRAIN / "0002_c1s1_3_1.jpg").read_bytes()
    )
    status, text = run("check_dataset", "market1501", "--data-root", market.parent)
    assert status == 1
    assert "problem: 1 of the 10 images of market1501 cannot be decoded, such as" in text
    assert "problem: 1 pictures of market1501 are in training and in test images, such as" in text
    assert (
        "problem: 1 of the 4 test identities of market1501 are also trained on, such as 2" in text
    )
    _, quick = run("check_dataset", "market1501", "--data-root", market.parent, "--no-decode")
    assert "decoded" not in quick and "in training and" not in quick and "also trained on" in quick


def test_a_copy_with_the_published_counts_has_no_problem(run, market, monkeypatch):
    (market / TRAIN / "0001_c3s1_9_1.jpg").write_bytes(b"")
    tool = load("dataset_checks")
    monkeypatch.setitem(
        tool.PUBLISHED, "market1501", dict(train=(2, 5), query=(2, 2), gallery=(3, range(2, 4)))
    )
    monkeypatch.setitem(tool._CAMERAS, "market1501", 3)
    _, findings = tool.check("market1501", ("train", "query", "gallery"), market, decode=False)
    assert not any(one.serious for one in findings)
    assert "note: the counts of market1501 are the published ones" in map(str, findings)
    # With options of its own a set has other counts.
    smaller = dict(name="market1501", indices=3)
    _, findings = tool.check(smaller, ("train",), market, decode=False)
    assert findings == []


def test_a_config_has_all_its_sets_checked_and_a_missing_one_does_not_hide_the_others(
    run, market, tmp_path
):
    config = tmp_path / "ise_r50_both.py"
    config.write_text(
        f'_base_ = "{ROOT}/configs/ise/ise_r50_market.py"\n'
        f'data_root = "{market.parent}"\ntest = ["market1501", "dukemtmc"]\n'
    )
    status, text = run("check_dataset", config, "--no-decode")
    assert status == 1
    assert re.search(r"^market1501 +train +2 +4 +2$", text, re.M)
    assert text.count("problem: found no") == text.count("of dukemtmc") == 1
    assert re.search(r"problem: found no .* or 'query' or 'bounding_box_test' of dukemtmc in", text)


def test_weights_that_a_config_starts_from_and_that_are_not_there_are_problems(
    run, market, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = (f"data_root={market.parent}", "encoder.backbone.init_cfg.checkpoint=none/vit.pth")
    words = ("check_dataset", "ise_r50_market", "--no-decode", "--cfg-options")
    _, text = run(*words, *options)
    assert re.search(
        r"^problem: Checkpoint none/vit\.pth does not exist, .*docs/weights\.md", text, re.M
    )
    Path("none").mkdir()
    Path("none/vit.pth").touch()
    assert "vit.pth" not in run(*words, *options)[1]
    # A first stage is only to be trained before.
    _, text = run(*words, options[0], "stage1=work_dirs/source_r50_duke2market")
    assert re.search(
        r"^note: Checkpoint work_dirs/\S+ does not exist, .*tools/train\.py", text, re.M
    )


def test_the_rule_for_cameras_of_all_test_sets_is_that_of_the_config(run, tmp_path):
    for person in range(4):
        for number in range(2):
            write_image(tmp_path / "one" / f"{person}_c1_{number}.png", 20 * person + number)
    config = tmp_path / "ise_r50_one.py"
    people = f'type="FolderReIDDataset", data_root="{tmp_path}/one", pattern=r"(?P<pid>\\d)_c(?P<camid>1)"'
    text = (
        f'_base_ = "{ROOT}/configs/ise/ise_r50_market.py"\n'
        f"target = dict(_delete_=True, {people}, ids=dict(stop=2))\n"
        f"test = [dict({people}, ids=dict(start=2))]\n"
    )
    config.write_text(text)
    status, out = run("check_dataset", config, "--no-decode")
    assert status == 1 and "set same_camera='keep'" in out
    config.write_text(text + 'val_dataloader = dict(dataset=dict(same_camera="keep"))\n')
    status, out = run("check_dataset", config, "--no-decode")
    assert status == 0, out


def test_copies_are_told_by_what_they_do(run, market, tmp_path):
    def copy(source, target):
        (market / target).write_bytes((market / source).read_bytes())

    copy(f"{TRAIN}/0001_c1s1_1_1.jpg", f"{TRAIN}/0001_c1s1_1_2.jpg")  # twice the same person
    copy(f"{TRAIN}/0002_c1s1_3_1.jpg", f"{TRAIN}/0001_c1s1_9_1.jpg")  # two people
    copy(f"{QUERY}/0003_c1s1_1_1.jpg", f"{GALLERY}/0003_c2s1_9_1.jpg")  # finds itself
    copy(f"{QUERY}/0004_c1s1_2_1.jpg", f"{GALLERY}/0004_c1s1_9_1.jpg")  # left out by the rule
    (market / TRAIN / "0002_c2s1_4_2.jpg").symlink_to("0002_c2s1_4_1.jpg")
    _, text = run("check_dataset", "market1501", "--data-root", market.parent)
    assert "note: 2 pictures of market1501 are there in several files, such as" in text
    assert "problem: 1 pictures of market1501 are there as two people, such as" in text
    assert "problem: 1 queries of market1501 have a copy of themselves as a match, such as" in text
    assert "note: market1501: 1 of 7 entries lead to a file that is there already" in text
    assert "in training and" not in text


def test_one_problem_is_one_line_whatever_the_number_of_splits(run, tmp_path):
    status, text = run("check_dataset", "market1501", "--data-root", tmp_path / "none")
    assert (
        status == 1 and text.count("is not a folder") == 1 and text.endswith("\n1 problem found\n")
    )
    for person in range(4):
        for number in range(2):
            write_image(tmp_path / "d" / f"p{person}" / f"{number}.png", 40 * person + number)
    (tmp_path / "d" / "p0" / "new\nline.png").write_bytes(b"broken")
    config = tmp_path / "ise_r50_d.py"
    config.write_text(
        f'_base_ = "{ROOT}/configs/ise/ise_r50_market.py"\n'
        f'who = dict(type="FolderReIDDataset", data_root="{tmp_path}/d")\n'
        "target = dict(_delete_=True, **who, ids=dict(stop=2))\n"
        "test = [dict(**who, ids=dict(start=2), name='others'), dict(**who, name='all')]\n"
    )
    status, text = run("check_dataset", config, "all")
    assert "problem: 1 of the 9 images of all cannot be decoded, such as" in text
    assert status == 1 and text.count("problem: ") == text.count("cannot be decoded") == 1
    assert re.search(r"^all +gallery +4 +9 +- +identity$", text, re.M) and "train" not in text
    status, text = run("check_dataset", config, "test", "--split", "query")
    assert status == 0 and re.search(r"^others +query +2 +4 +- +identity$", text, re.M)
    assert "gallery" not in text and len(text.splitlines()) == 3
    with pytest.raises(InputError, match=r"found no dataset 'nobody', expected one of .*others"):
        run("check_dataset", config, "nobody")
    with pytest.raises(InputError, match="found nobody for the dataset 'market1501'"):
        run("check_dataset", "market1501", "nobody")


def test_a_target_without_identities_is_no_problem(run, tmp_path):
    for number in range(3):
        write_image(tmp_path / "pile" / f"{number}.png", number)
    write_image(tmp_path / "pile" / "again.png", 0)
    (tmp_path / "list.csv").write_text("path\npile/0.png\npile/1.png\n")
    for kind in (
        f'type="FolderReIDDataset", data_root="{tmp_path}/pile"',
        f'type="CSVReIDDataset", ann_file="{tmp_path}/list.csv"',
    ):
        config = tmp_path / "ise_r50_pile.py"
        config.write_text(
            f'_base_ = "{ROOT}/configs/ise/ise_r50_market.py"\ntarget = dict(_delete_=True, {kind})\n'
        )
        status, text = run("check_dataset", config)
        assert status == 0, text
        assert "has no labelled test images: it can be trained on, and nothing is eval" in text
    # Sub-folders of cameras are no people who could be tested on.
    write_image(tmp_path / "own" / "door" / "0.png", 0)
    write_image(tmp_path / "own" / "hall" / "1.png", 70)
    status, text = run("check_dataset", tmp_path / "own")
    assert status == 0 and re.search(r"^own +train +- +2 +- +none$", text, re.M), text
    assert "its 2 sub-folders, such as 'door', are taken for nothing" in text
    (tmp_path / "own" / "crops.csv").write_text(
        "path,camid,time,tracklet\ndoor/0.png,door,1,1\nhall/1.png,hall,,\n"
    )
    status, text = run("check_dataset", tmp_path / "own" / "crops.csv")
    assert status == 0 and "crops.csv' tells more" not in text
    assert "own/crops.csv' tells more of its images" in run("check_dataset", tmp_path / "own")[1]
    assert re.search(r"^crops +train +- +2 +2 +50% +1$", text, re.M), text


def test_a_source_is_checked_as_it_would_be_trained_on(run, tmp_path):
    for person in "ab":
        write_image(tmp_path / "known" / person / "0.png", 40 * ord(person))
    config = tmp_path / "source_r50_known.py"
    config.write_text(
        f'_base_ = "{ROOT}/configs/source/source_r50_duke2market.py"\n'
        f"source = '{tmp_path}/known'\ntarget = '{tmp_path}/known'\ntest = []\n"
    )
    _, text = run("check_dataset", config, "source", "--no-decode")
    assert re.search(r"^known +train +2 +2 +- +identity$", text, re.M), text


def test_a_split_that_is_a_file_is_told(run, market):
    shutil.rmtree(market / QUERY)
    (market / QUERY).touch()
    status, text = run("check_dataset", "market1501", "--data-root", market.parent)
    assert status == 1 and re.search(r"problem: found a file at '.*query', expected a folder", text)


def test_a_config_of_another_problem_is_told(run):
    with pytest.raises(InputError, match=r"digits\.py' names no source, target or test, exp"):
        run("check_dataset", "configs/ptl/ptl_mbv2_digits.py")


def test_a_source_only_set_is_not_asked_for_test_images():
    def splits(name, **options):
        [one] = load("dataset_checks").requested(name, **options)
        assert one[::2] == (name, "data")
        return one.splits

    assert splits("vehiclex") == ("train",)
    assert splits("msmt17") == ("train", "query", "gallery")
    assert splits("msmt17", splits=["gallery"]) == ("gallery",)


# ---- CUHK03


@pytest.fixture
def cuhk03(tmp_path):
    """Two camera pairs with two people each, images (height 4, width 2) as MATLAB stores them."""
    h5py = pytest.importorskip("h5py")
    images = {}
    with h5py.File(tmp_path / "cuhk-03.mat", "w") as file:
        pairs = file.create_dataset("detected", (1, 2), dtype=h5py.ref_dtype)
        for pair in range(2):
            cells = file.create_dataset(f"pair{pair}", (10, 2), dtype=h5py.ref_dtype)
            for person in range(2):
                for number in range(10):
                    name = f"{pair + 1}_{person + 1:03d}_{1 + number // 5}_{number + 1:02d}.png"
                    empty = number == 9
                    image = np.arange(24).reshape(4, 2, 3) + 10 * number + 100 * person + pair
                    stored = np.zeros(2, np.uint64) if empty else image.T.astype(np.uint8)
                    cells[number, person] = file.create_dataset(f"im{name}", data=stored).ref
                    images[name] = image.astype(np.uint8)
            pairs[0, pair] = cells.ref
    names = [
        "1_001_1_01.png",
        "1_001_2_06.png",
        "1_002_1_02.png",
        "2_001_1_01.png",
        "2_002_2_07.png",
    ]

    def lists(names=names):
        cells = np.empty((len(names), 1), object)
        cells[:, 0] = names
        savemat(
            tmp_path / "cuhk03_new_protocol_config_detected.mat",
            dict(
                filelist=cells,
                labels=np.array([[1], [1], [2], [734], [735]]),
                train_idx=np.array([[1], [2], [3]]),
                query_idx=np.array([[4]]),
                gallery_idx=np.array([[5]]),
            ),
        )

    lists()
    return tmp_path, images, lists


def test_cuhk03_is_unpacked_for_the_adapter_pixel_by_pixel(run, cuhk03):
    folder, images, _ = cuhk03
    out = folder / "data" / "cuhk03-np"
    status, text = run(
        "convert_cuhk03", folder / "cuhk-03.mat", folder, out, "--variants", "detected"
    )
    assert status == 0 and text.startswith("detected: train 3, query 1, gallery 1\n")
    train = CUHK03NP(str(folder / "data"))
    assert list(zip(train.pids, train.camids)) == [(1, 0), (1, 1), (2, 0)]
    for split, name in (("query", "2_001_1_01.png"), ("gallery", "2_002_2_07.png")):
        [path] = CUHK03NP(str(folder / "data"), split).paths
        assert np.array_equal(cv2.imread(path)[..., ::-1], images[name])


@pytest.mark.parametrize(
    "name, words",
    [
        ("1_001_2_10.png", "the release has no such image"),
        ("3_001_1_01.png", "the release has no such image"),
        ("1_009_1_01.png", "the release has no such image"),
        ("person.jpg", "expected <pair>_<person>_<view>_<image>.png"),
    ],
)
def test_lists_that_do_not_belong_to_the_release_are_told(cuhk03, name, words):
    folder, _, lists = cuhk03
    lists([name, *["1_001_1_01.png"] * 4])
    with pytest.raises(InputError, match=words):
        load("convert_cuhk03").convert(folder / "cuhk-03.mat", folder, folder / "out", "detected")


def test_missing_files_of_cuhk03_are_told(cuhk03):
    folder, *_ = cuhk03
    convert = load("convert_cuhk03").convert
    with pytest.raises(InputError, match=r"no file '.*cuhk03_new_protocol_config_labeled\.mat'"):
        convert(folder / "cuhk-03.mat", folder, folder / "out", "labeled")
    with pytest.raises(InputError, match="found no file"):
        convert(folder / "none.mat", folder, folder / "out", "detected")
    (folder / "text.mat").write_text("no HDF5")
    with pytest.raises(InputError, match=r"'.*text\.mat' is no HDF5 file"):
        convert(folder / "text.mat", folder, folder / "out", "detected")
    (folder / "cuhk03_new_protocol_config_detected.mat").write_text("no list")
    with pytest.raises(InputError, match=r"_detected\.mat' is no MATLAB file"):
        convert(folder / "cuhk-03.mat", folder, folder / "out", "detected")


def test_a_list_that_counts_further_than_it_has_names_is_told(cuhk03):
    folder, _, lists = cuhk03
    lists(["1_001_1_01.png"] * 4)
    with pytest.raises(InputError, match=r"gallery_idx .* from 5 to 5, expected 1\.\.4"):
        load("convert_cuhk03").convert(folder / "cuhk-03.mat", folder, folder / "out", "detected")


# ---- Occluded-DukeMTMC


@pytest.mark.parametrize("flag", [(), ("--symlink",)])
def test_occluded_duke_takes_its_images_from_all_folders_of_duke(run, tmp_path, flag):
    duke, lists, out = tmp_path / "duke", tmp_path / "lists", tmp_path / "Occluded_Duke"
    for folder, name in (
        (TRAIN, "0001_c2_f1.jpg"),
        (TRAIN, "0005_c8_f1.jpg"),
        (GALLERY, "0019_c1_f1.jpg"),
        (QUERY, "0019_c3_f1.jpg"),
    ):
        write_image(duke / folder / name, 9)
    lists.mkdir()
    (lists / "train.list").write_text("0001_c2_f1.jpg\n0005_c8_f1.jpg\n")
    (lists / "query.list").write_text("0019_c1_f1.jpg\n")
    (lists / "gallery.list").write_text("0019_c3_f1.jpg\n")
    status, text = run("convert_occluded_duke", lists, duke, out, *flag)
    assert status == 0 and text.startswith("train 2, query 1, gallery 1\n")
    assert OccludedDuke(str(tmp_path)).pids.tolist() == [1, 5]
    [path] = OccludedDuke(str(tmp_path), "query").paths
    assert Path(path).is_symlink() == bool(flag) and cv2.imread(path) is not None
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        load("convert_occluded_duke").convert(lists, duke, tmp_path / "file")
    (lists / "query.list").write_text("0019_c1_f1.jpg\n0020_c1_f1.jpg\n")
    with pytest.raises(InputError, match=r"1 of the 2 images of .*'0020_c1_f1\.jpg'"):
        load("convert_occluded_duke").convert(lists, duke, out)
