"""Your own images: folders, patterns and CSV files, and what is said when they do not fit."""

import numpy as np
import pytest
from empty_files import touch

from mmreid_uda.datasets import CSVReIDDataset, FolderReIDDataset
from mmreid_uda.utils import InputError


@pytest.fixture
def cows(tmp_path):
    root = tmp_path / "cows"
    for cow in (1, 2, 10, 11):
        touch(root / f"cow{cow}", "left.jpg", "deep/er/right.PNG", ".hidden.jpg", "notes.txt")
    return root


def test_a_folder_per_identity_sorted_by_the_number_in_its_name(cows):
    train = FolderReIDDataset(str(cows))
    assert len(train) == 8 and train.num_pids == 4 and train.name == "cows"
    labels = dict(zip(train.pids, train.true_labels))
    assert labels == {"cow1": 0, "cow2": 1, "cow10": 2, "cow11": 3}
    assert not train.has_cameras


def test_ids_split_people_by_slice_or_by_list(cows):
    first = FolderReIDDataset(str(cows), ids={"start": 0, "stop": 2})
    assert sorted(set(first.pids)) == ["cow1", "cow2"] and first.true_labels.max() == 1
    last = FolderReIDDataset(str(cows), "query", ids={"start": 2})
    assert sorted(set(last.pids)) == ["cow10", "cow11"]
    every_other = FolderReIDDataset(str(cows), ids={"step": 2})
    assert sorted(set(every_other.pids)) == ["cow1", "cow10"]
    assert set(FolderReIDDataset(str(cows), "gallery", ids=["cow11"]).pids) == {"cow11"}


def test_identities_named_by_numbers_may_be_listed_as_integers(tmp_path):
    touch(tmp_path, "7/a.jpg", "8/a.jpg", "12/a.jpg")
    assert FolderReIDDataset(str(tmp_path), ids=[7, 12]).pids.tolist() == ["12", "7"]
    assert FolderReIDDataset(str(tmp_path), ids={"stop": 2}).pids.tolist() == ["7", "8"]


def test_query_and_gallery_share_the_camera_of_an_image(cows):
    query, gallery = (FolderReIDDataset(str(cows), split) for split in ("query", "gallery"))
    assert dict(zip(query.paths, query.camids)) == dict(zip(gallery.paths, gallery.camids))
    assert len(set(query.camids)) == len(query)
    part = FolderReIDDataset(str(cows), "query", ids={"start": 2})
    whole = dict(zip(gallery.paths, gallery.camids))
    assert [whole[path] for path in part.paths] == part.camids.tolist()


def test_split_folders_keep_cameras_apart(tmp_path):
    touch(tmp_path, "train/1/a.bmp", "train/2/a.bmp", "probe/3/a.bmp", "gal/3/a.bmp", "gal/4/b.bmp")
    folders = {"train": "train", "query": "probe", "gallery": "gal/"}
    sets = {s: FolderReIDDataset(str(tmp_path), s, split_folders=folders) for s in folders}
    assert {split: one.pids.tolist() for split, one in sets.items()} == {
        "train": ["1", "2"],
        "query": ["3"],
        "gallery": ["3", "4"],
    }
    assert not set(sets["query"].camids) & set(sets["gallery"].camids)
    with pytest.raises(
        InputError, match=r"split_folders names 'none' for split 'query'.*'gal', 'probe', 'train'"
    ):
        FolderReIDDataset(str(tmp_path), "query", split_folders={"query": "none"})


def test_a_pattern_reads_identity_and_camera_from_flat_names(tmp_path):
    names = ("rex-north-1.jpg", "rex-south-2.jpg", "ada-north-1.jpg", "ada-west-9.jpg")
    touch(tmp_path, *names)
    pattern = r"(?P<pid>[a-z]+)-(?P<camid>[a-z]+)"
    train = FolderReIDDataset(str(tmp_path), pattern=pattern)
    assert train.pids.tolist() == ["ada", "ada", "rex", "rex"]
    assert train.camids.tolist() == [0, 2, 0, 1] and train.has_cameras
    # Cameras are numbered over all images, so a selection keeps their numbers.
    assert FolderReIDDataset(
        str(tmp_path), "query", pattern=pattern, ids=["ada"]
    ).camids.tolist() == [0, 2]


def evidence_of(dataset):
    """Name -> camera's name, seconds, tracklet, of what is known."""
    told = dataset.evidence
    return {
        path.removeprefix(f"{dataset.root}/"): (
            dataset.camera_names[camera] if camera >= 0 else None,
            None if np.isnan(time) else float(time),
            None if tracklet < 0 else int(tracklet),
        )
        for path, camera, time, tracklet in zip(
            dataset.paths, told.cameras, told.times, told.tracklets
        )
    }


def test_a_pattern_reads_what_there_is_and_the_frame_rate_makes_seconds(tmp_path):
    touch(tmp_path, "7_c1s1_000050_00.jpg", "8_c1s1_000025_00.jpg", "8_c2s1_000010_00.jpg")
    street = r"(?P<pid>\d+)_c(?P<camid>\d+)s1_(?P<time>\d+)"
    train = FolderReIDDataset(str(tmp_path), pattern=street, frame_rate=25)
    assert train.pids.tolist() == ["7", "8", "8"]
    assert [told[:2] for told in evidence_of(train).values()] == [("1", 2), ("1", 1), ("2", 0.4)]
    rates = {"frame_rate": {1: 25, 2: 5}, "clock_offsets": {"2": -1.5}}
    train = FolderReIDDataset(str(tmp_path), pattern=street, **rates)
    assert train.evidence.times.tolist() == [2, 1, 0.5]
    without_people = FolderReIDDataset(
        str(tmp_path), pattern=r"c(?P<camid>\d+)s\d_(?P<tracklet>0000)", labels="unlabeled"
    )
    # Tracklets are named within their camera.
    assert [told[::2] for told in evidence_of(without_people).values()] == [
        *[("1", 0)] * 2,
        ("2", 1),
    ]
    assert without_people.num_pids == 0
    only_time = FolderReIDDataset(str(tmp_path), pattern=r"_(?P<time>\d+)_", labels="unlabeled")
    assert only_time.evidence.times.tolist() == [50, 25, 10] and only_time.camera_names is None


def test_folders_are_what_they_are_said_to_be(tmp_path, caplog):
    touch(tmp_path, "door/t1/05.jpg", "door/t2/06.jpg", "hall/t1/07.jpg", "hall/08.jpg", "09.jpg")
    root, target = str(tmp_path), {"labels": "unlabeled"}
    pile = FolderReIDDataset(root, **target)
    assert pile.num_pids == pile.num_cams == 0 and not pile.evidence.has_tracklets
    assert pile.folders_are == "none" and "its 2 sub-folders, such as 'door'" in pile.notes[0]
    assert not FolderReIDDataset(root, folders="none", **target).notes
    nested = FolderReIDDataset(
        root,
        folders=("camera", "tracklet"),
        pattern=r"(?P<time>\d+)\.jpg",
        frame_rate={"door": 1, "hall": 2},
        **target,
    )
    assert nested.folders_are == "camera, tracklet"
    assert evidence_of(nested) == {
        "09.jpg": (None, None, None),  # its camera's rate is unknown
        "door/t1/05.jpg": ("door", 5, 0),
        "door/t2/06.jpg": ("door", 6, 1),
        "hall/08.jpg": ("hall", 4, None),
        "hall/t1/07.jpg": ("hall", 3.5, 2),
    }
    tracks = FolderReIDDataset(root, folders=["none", "tracklet"], **target)
    assert tracks.evidence.tracklets.tolist() == [-1, 0, 1, -1, 0]
    # Identities where they are needed: tests, labelled sources, and who selects by them.
    assert set(FolderReIDDataset(root + "/door").pids) == {"t1", "t2"}
    chosen = FolderReIDDataset(root + "/door", ids=["t2"], **target)
    assert chosen.folders_are == "identity" and len(chosen) == 1
    with pytest.raises(InputError, match=r"5 of the 5 images of split 'query' .* have no identity"):
        FolderReIDDataset(root, "query", folders="camera")
    # What the pattern reads goes before.
    both = FolderReIDDataset(root, folders="camera", pattern="(?P<camid>t.)?", **target)
    assert both.num_cams == 0


def test_folders_of_cameras_lie_below_those_of_the_splits(tmp_path):
    touch(tmp_path, "train/b/1.jpg", "train/c/2.jpg", "probe/a/p_3.jpg", "gal/c/p_4.jpg")
    options = {
        "split_folders": {"train": "train", "query": "probe", "gallery": "gal"},
        "folders": "camera",
        "pattern": r"((?P<pid>p)_)?\d",
    }
    query, gallery = (
        FolderReIDDataset(str(tmp_path), split, **options) for split in ("query", "gallery")
    )
    assert query.camids.tolist() == [0] and gallery.camids.tolist() == [2]
    train = FolderReIDDataset(str(tmp_path), labels="unlabeled", **options)
    assert train.camera_names == ["a", "b", "c"] and train.evidence.cameras.tolist() == [1, 2]


def test_images_without_identities_are_one_unlabeled_pile(tmp_path):
    touch(tmp_path, "b.jpg", "a.pgm", "c.webp")
    pile = FolderReIDDataset(str(tmp_path), labels="unlabeled", domain=1)
    assert len(pile) == 3 and pile.num_pids == 0
    assert pile.true_labels.tolist() == pile.labels.tolist() == [-1, -1, -1]
    with pytest.raises(
        InputError, match=r"3 of the 3 images .* have no identity.*labels='unlabeled'"
    ):
        FolderReIDDataset(str(tmp_path))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"pattern": "(?P<pid>"}, "is no regular expression"),
        ({"pattern": r"(\d+)_c(?P<cam>\d+)"}, r"has the groups cam, expected some of \(\?P<pid>"),
        ({"folders": "person"}, "folders='person' .* 'identity'"),
        ({"frame_rate": 0}, "frame_rate=0 .* above 0"),
        ({"frame_rate": 25}, r"nothing in .*cows' is read as a time, expected a group \(\?P<time>"),
        (
            {"frame_rate": {"a": 25}, "pattern": r"(?P<time>\d)?"},
            r"frame_rate names 'a', and .* the cameras \(none\)",
        ),
        (
            {"folders": "camera", "clock_offsets": {"dep": 1}, "pattern": r"(?P<time>\d)?"},
            "'dep' is not in both",
        ),
        ({"pattern": r"(?P<time>\w+)\."}, r"has the time 'right', expected a number of seconds or"),
        (
            {"pattern": r"(?P<pid>cow1\d)"},
            "4 of 8 images .* do not match the pattern .* 'cow1/deep/er/right.PNG'",
        ),
        ({"ids": ["cow3"]}, r"1 unknown identities such as 'cow3' of the 4 .*\(cow1 to cow11\)"),
        ({"ids": {"start": 9}}, "selects 0 identities of the 4"),
        ({"ids": {"begin": 9}}, r"ids\.begin=9 .*`start`, `step`, `stop`"),
        ({"extensions": (".tif",)}, r"found 0 images \(\.tif\)"),
        ({"ids": {"stop": 0.5}}, r"ids\.stop=0\.5 .* a whole number or None"),
        ({"ids": {"step": 0}}, r"ids\.step=0 .* of at least 1"),
        ({"ids": "cow1"}, r"ids='cow1' .* a list, dict\(start="),
        ({"ids": 3}, "ids=3 .* expected a list"),
        ({"pattern": 3}, "pattern=3 .* expected a text"),
        ({"split_folders": {"train": "../cows"}, "split": "query"}, "split_folders names None"),
        (
            {"split_folders": {"train": "../.."}},
            r"split_folders names '\.\./\.\.' for split 'train'",
        ),
        ({"indices": [1, 2, 50]}, "indices=.* for the 8 images of cows train, .* from -8 to 7"),
        ({"indices": 0.5}, r"indices=0\.5 .* a whole number, a list of whole numbers or None"),
        ({"indices": [1, -7]}, "indices names 2 images .* of which only 1 are distinct"),
    ],
)
def test_a_folder_that_does_not_fit_is_told(cows, options, words):
    with pytest.raises(InputError, match=words):
        FolderReIDDataset(str(cows), **options)


def test_a_stray_image_beside_the_identities_is_told(cows):
    touch(cows, "stray.jpg")
    with pytest.raises(InputError, match=r"1 images lie directly in .* 'stray\.jpg'"):
        FolderReIDDataset(str(cows))
    with pytest.raises(InputError, match="is not a folder"):
        FolderReIDDataset(str(cows / "stray.jpg"))


def test_a_folder_with_one_identity_is_told(tmp_path):
    touch(tmp_path, "rex/1.jpg", "rex/2.jpg")
    with pytest.raises(InputError, match="has 1 identity in 2 images"):
        FolderReIDDataset(str(tmp_path))


def write_csv(folder, text, name="list.csv"):
    touch(folder, *(f"{letter}.jpg" for letter in "abcdef"))
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_csv_with_cameras_and_splits_of_any_type(tmp_path):
    path = write_csv(
        tmp_path,
        "\ufeffpath,pid,camid,split\n"
        "b.jpg,Ärmel,gate 10,train\na.jpg,7,gate 9,train\n"
        "c.jpg,x,gate 9,query\nd.jpg,x,gate 10,gallery\ne.jpg,y,,Gallery\n",
    )
    train, query, gallery = (
        CSVReIDDataset(split=split, ann_file=path) for split in ("train", "query", "gallery")
    )
    assert train.name == "list" and train.pids.tolist() == ["7", "Ärmel"]
    assert train.camids.tolist() == [0, 1] and train.has_cameras
    assert query.camids.tolist() == [0]
    assert gallery.pids.tolist() == ["x", "y"] and gallery.camids[0] == 1
    assert not gallery.has_cameras and gallery.camids[1] > 1


def test_csv_without_cameras_gives_an_image_one_number_everywhere(tmp_path):
    path = write_csv(tmp_path, "path,pid\nc.jpg,1\na.jpg,1\nb.jpg,2\n")
    query, gallery = (CSVReIDDataset(split=s, ann_file=path) for s in ("query", "gallery"))
    assert query.camids.tolist() == gallery.camids.tolist() == [0, 1, 2]
    path = write_csv(
        tmp_path,
        "path,pid,split\na.jpg,1,query\nb.jpg,1,gallery\nc.jpg,2,gallery\na.jpg,1,gallery\n",
    )
    query, gallery = (CSVReIDDataset(split=s, ann_file=path) for s in ("query", "gallery"))
    assert query.camids.tolist() == [0] and gallery.camids.tolist() == [0, 1, 2]


def test_csv_rows_of_split_test_are_query_and_gallery(tmp_path):
    path = write_csv(
        tmp_path, "path,pid,split\na.jpg,1,train\nb.jpg,2,train\nc.jpg,3,test\nd.jpg,3,test\n"
    )
    sizes = [len(CSVReIDDataset(split=s, ann_file=path)) for s in ("train", "query", "gallery")]
    assert sizes == [2, 2, 2]


def test_csv_columns_separator_and_image_folder_may_be_others(tmp_path):
    (tmp_path / "lists").mkdir()
    touch(tmp_path / "pictures", "a.jpg", "sub/b.jpg")
    (tmp_path / "lists" / "t.csv").write_text("file;turtle\na.jpg;t2\nsub/b.jpg;t10\n")
    train = CSVReIDDataset(
        str(tmp_path),
        ann_file="lists/t.csv",
        img_root=str(tmp_path / "pictures"),
        columns={"path": "file", "pid": "turtle"},
        delimiter=";",
    )
    assert train.pids.tolist() == ["t2", "t10"] and train.true_labels.tolist() == [0, 1]


def test_csv_without_identities_is_for_hidden_labels(tmp_path):
    path = write_csv(tmp_path, "path\na.jpg\nb.jpg\n")
    assert CSVReIDDataset(ann_file=path, labels="unlabeled").true_labels.tolist() == [-1, -1]
    with pytest.raises(InputError, match=r"has the columns 'path', but pid is missing"):
        CSVReIDDataset(ann_file=path)


@pytest.mark.parametrize(
    "text, options, words",
    [
        (
            "file,person\na.jpg,1\n",
            {},
            "has the columns 'file', 'person', but path, pid is missing; .*columns=",
        ),
        ("path:pid\na.jpg:1\n", {}, "has the columns 'path:pid', but path, pid is missing"),
        ("", {}, r"has the columns \(none\)"),
        ("path,pid\na.jpg,1\n", {"columns": {"camid": "cam"}}, "but cam is missing"),
        (
            "path,pid\na.jpg,1\n",
            {"columns": {"camera": "cam"}},
            r"columns\.camera='cam' .*`camid`, `path`",
        ),
        (
            "path,pid\na.jpg,1\nb.jpg, \n",
            {},
            "1 of the 2 rows of .* have no 'pid', the first is line 3",
        ),
        ("path,pid\na.jpg,1\n,2\n", {}, "1 of the 2 rows of .* have no 'path', .* line 3"),
        ("path,pid\na.jpg,1\n\n\n,2\nb.jpg,nan\n", {}, "have no 'path', .* line 5"),
        ("path,pid\na.jpg,1\nb.jpg,NULL\n", {}, "1 of the 2 rows of .* have no 'pid'"),
        (
            "path,pid\na.jpg,1\nz.jpg,2\n",
            {},
            r"1 of the 2 images listed in .* do not exist, .*z\.jpg",
        ),
        ("path,pid\na.jpg,1\nb.jpg\n", {}, "have no 'pid', the first is line 3"),
        ("path,pid\na.jpg,1\na.jpg,2\n", {}, "one file with two identities, '1' as 'a.jpg'"),
        ("path,pid,camid\na.jpg,1,x\n./a.jpg,1,y\n", {}, "one file with two cameras"),
        ("path,pid\na.jpg,1\nb.jpg,2,3\n", {}, "line 3 of .* has 3 cells, but the header 2"),
        ("path,pid,pid\na.jpg,1,2\n", {}, "has the column 'pid' twice"),
        ("path,pid\n'a.jpg',1\n", {"delimiter": ";;"}, "delimiter=';;' was given"),
        ("path,pid,split\na.jpg,1,val\nb.jpg,2,val\n", {}, "0 rows of split 'train' .*'val': 2"),
        ("path,pid\n", {}, "0 usable images"),
        ("path,pid\na.jpg,1\nb.jpg,1\n", {}, "has 1 identity in 2 images"),
    ],
)
def test_a_csv_file_that_does_not_fit_is_told(tmp_path, text, options, words):
    with pytest.raises(InputError, match=words):
        CSVReIDDataset(ann_file=write_csv(tmp_path, text), **options)


def test_csv_tells_times_and_tracklets(tmp_path):
    path = write_csv(
        tmp_path,
        "path,camid,time,tracklet\na.jpg,east,10,1\nb.jpg,east,,1\nc.jpg,west,30,1\n"
        "d.jpg,,30,\ne.jpg,west,2.5,nan\n",
    )
    train = CSVReIDDataset(ann_file=path, labels="unlabeled", clock_offsets={"west": 100})
    assert list(evidence_of(train).values()) == [
        ("east", 10, 0),
        ("east", None, 0),
        ("west", 130, 1),
        (None, 30, None),
        ("west", 102.5, None),
    ]
    path = write_csv(
        tmp_path,
        "path,when\na.jpg,2026-05-01 12:00:00\nb.jpg,2026-05-01T13:00:07.5+01:00\n",
    )
    dates = CSVReIDDataset(ann_file=path, labels="unlabeled", columns={"time": "when"})
    assert np.diff(dates.evidence.times).tolist() == [7.5]
    with pytest.raises(InputError, match="time '2026-05-01 12:00:00', expected a number of a fr"):
        CSVReIDDataset(ann_file=path, labels="unlabeled", columns={"time": "when"}, frame_rate=25)


def test_one_file_with_two_tracklets_is_told(tmp_path):
    path = write_csv(tmp_path, "path,tracklet\na.jpg,1\n./a.jpg,2\n")
    with pytest.raises(InputError, match=r"one file with two tracklets, '1' as 'a\.jpg' and '2'"):
        CSVReIDDataset(ann_file=path, labels="unlabeled")


def test_csv_of_a_spreadsheet_is_read_whatever_its_separator(tmp_path):
    texts = ("path;pid\r\na.jpg;1\r\nb.jpg;2\r\n;\r\n", "sep=|\npath|pid\na.jpg|1\nb.jpg|2\n")
    for text in (
        *texts,
        "path\tpid\tnote\na.jpg\t1\nb.jpg\t2\t\t\n",
        '"path", pid\n"a.jpg",1\nb.jpg,2',
    ):
        train = CSVReIDDataset(ann_file=write_csv(tmp_path, text))
        assert dict(zip(train.pids, train.paths)) == {
            "1": str(tmp_path / "a.jpg"),
            "2": str(tmp_path / "b.jpg"),
        }


def test_paths_of_windows_are_read(tmp_path):
    touch(tmp_path, "one/two/a.jpg", "odd\\b.jpg")
    (tmp_path / "list.csv").write_text("path,pid\none\\two\\a.jpg,1\nodd\\b.jpg,2\n")
    train = CSVReIDDataset(ann_file=str(tmp_path / "list.csv"))
    assert train.paths == [str(tmp_path / "odd\\b.jpg"), str(tmp_path / "one/two/a.jpg")]


def test_a_missing_cell_is_never_a_camera_or_an_identity(tmp_path):
    empty = ["", "nan", "NULL", "-", "N/A", " None ", "-1.0", "\\N", "unknown"]
    names = "abcdefghi"
    touch(tmp_path, *(f"{letter}.jpg" for letter in names))
    rows = [f"{letter}.jpg,{text},{text}" for letter, text in zip(names, empty)]
    path = write_csv(tmp_path, "path,pid,camid\n" + "\n".join(rows) + "\n")
    pile = CSVReIDDataset(ann_file=path, labels="unlabeled")
    assert pile.num_pids == 0 and pile.true_labels.tolist() == [-1] * 9
    assert len(set(pile.camids)) == 9 and not pile.camera_known.any() and pile.num_cams == 0


def test_the_texts_of_one_name_are_one_identity(tmp_path):
    touch(tmp_path, *(f"{letter}.jpg" for letter in "abcdef"))
    # Of a data frame in which one camera was missing; and of macOS, which writes a letter and its accent.
    rows = (
        "a.jpg,7,1\nb.jpg,7.0,1.0\nc.jpg,007,\nd.jpg,Zo\u00eb,2\ne.jpg,Zoe\u0308,2\nf.jpg,1.5,2\n"
    )
    path = write_csv(tmp_path, "path,pid,camid\n" + rows)
    train = CSVReIDDataset(ann_file=path)
    assert train.pids.tolist() == ["7", "7", "007", "Zo\u00eb", "Zo\u00eb", "1.5"]
    assert train.camids[[0, 1]].tolist() == [0, 0] and train.camera_known.sum() == 5


def test_a_row_without_split_is_told(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    path = write_csv(tmp_path, "path,pid,split\na.jpg,1,train\nb.jpg,2,Train\nc.jpg,2,\n")
    train = CSVReIDDataset(ann_file=path)
    assert len(train) == 2 and "1 of the 3 rows" in train.notes[0]


def test_a_group_that_did_not_match_is_never_a_camera_or_an_identity(tmp_path):
    touch(tmp_path, "p1_c7.jpg", "p1_c8.jpg", "p2_.jpg", "p2_x.jpg", "p3_cnan.jpg", "p3_c7.jpg")
    pattern = r"(?P<pid>p\d)_(c(?P<camid>\d+|nan))?"
    train = FolderReIDDataset(str(tmp_path), pattern=pattern)
    assert train.camera_known.tolist() == [True, True, False, False, True, False]
    assert train.camids[[0, 1, 4]].tolist() == [0, 1, 0] and train.num_cams == 2
    assert len(set(train.camids[[2, 3, 5]]) - {0, 1}) == 3
    touch(tmp_path, "q_c7.jpg")
    pattern = r"(?P<pid>p\d)?_(c(?P<camid>\d+))?"
    with pytest.raises(InputError, match=r"1 of the 7 images .* have no identity"):
        FolderReIDDataset(str(tmp_path), pattern=pattern)
    target = FolderReIDDataset(str(tmp_path), pattern=pattern, labels="unlabeled")
    assert target.num_pids == 3 and target.true_labels.tolist() == [0, 0, 1, 1, 2, 2, -1]


def test_endings_and_split_folders_may_be_written_in_many_ways(tmp_path):
    touch(tmp_path, "train/1/a.JPG", "train/2/b.jpg", "train/2/c.png")
    for extensions in ("jpg", [".JPG"], ("jpg", "JPG")):
        assert len(FolderReIDDataset(str(tmp_path / "train"), extensions=extensions)) == 2
    inside = ("train", "./train", "train//", str(tmp_path / "train"), f"../{tmp_path.name}/train")
    for folder in inside:
        assert len(FolderReIDDataset(tmp_path, split_folders={"train": folder})) == 3


def test_a_missing_csv_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"ann_file '.*no\.csv' is not a file"):
        CSVReIDDataset(str(tmp_path), ann_file="no.csv")
