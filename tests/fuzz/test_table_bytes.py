"""Lists of images with any bytes and any options: a dataset, or one sentence; never another exception."""

import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmreid_uda.datasets import MSMT17, CSVReIDDataset, FolderReIDDataset, VehicleID
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.slow

NAMES = ("a.jpg", "b.jpg", "sub/c.jpg", "Zoë d.jpg", "0001_1_02_x.jpg")
always_the_same = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=175,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Images in all the layouts, whose lists are written anew for each input."""
    folder = tmp_path_factory.mktemp("fuzz")
    for place in ("", "train", "VehicleID/image"):
        for name in NAMES:
            path = folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (folder / "VehicleID" / "train_test_split").mkdir()
    return folder


cells = st.one_of(
    st.sampled_from(
        [*NAMES, "", "1", "2", "nan", "-", "train", "test", "path", "pid", "camid", "split", '"']
    ),
    st.sampled_from(["time", "tracklet", "0.5", "inf", "1e999", "2026-05-01", "must", "ignore"]),
    st.sampled_from(["\\", "a\\b.jpg", "/", "../a.jpg", "\x00", "\r", "9" * 5000, "²", "-1", "٣"]),
    st.text(max_size=8),
)
encodings = st.sampled_from(
    ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "gbk"]
)


@st.composite
def files(draw, headers, right_rows, separators):
    """The bytes of a list that is right for the most part."""
    separator = draw(st.sampled_from(separators))
    right = st.lists(
        st.sampled_from([row.split(",") for row in right_rows]), min_size=1, max_size=4
    )
    rows = draw(right)
    if draw(st.booleans()):
        rows += draw(st.lists(st.lists(cells, max_size=5), max_size=3))
    lines = [separator.join(row) for row in rows]
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(
        [draw(st.sampled_from(headers)), *lines]
    )
    content = text.encode(draw(encodings), errors="replace")
    if draw(st.booleans()):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.binary(min_size=1, max_size=3)) + content[place:]
    return content


def builds_or_says(build):
    try:
        assert len(build()) > 0
    except InputError as error:
        message = str(error)
        assert message and len(message) < 2000


csv_options = st.fixed_dictionaries(
    {},
    optional={
        "delimiter": st.sampled_from([None, ",", ";", "\t", "|", "", ";;", '"', "\n", " ", "é"]),
        "encoding": st.sampled_from(
            [None, "utf-8", "utf-16", "latin-1", "gbk", "no", "base64", "idna", "undefined", "\0"]
        ),
        "columns": st.dictionaries(
            st.sampled_from(["path", "pid", "camid", "split", "time"]),
            st.sampled_from(["pid", "x", ""]),
        ),
        "labels": st.sampled_from(["ground_truth", "unlabeled"]),
        "frame_rate": st.sampled_from([25, {"x": 5}, {"x": 5, "y": 2.5, "nan": 1}, {}]),
        "clock_offsets": st.sampled_from([{}, {"x": -1}, {"z": 3}]),
        "indices": st.one_of(st.none(), st.integers(-9, 9), st.lists(st.integers(-9, 9))),
        "ids": st.one_of(
            st.none(),
            st.lists(cells, max_size=3),
            st.dictionaries(st.sampled_from(["start", "stop", "step"]), st.integers(-3, 3)),
        ),
    },
)
HEADERS = (
    *["path,pid,camid,split"] * 4,
    *["path,pid,camid,time,tracklet"] * 2,
    *("path;pid;camid", "path\tpid\tcamid\tsplit", "path,pid", "sep=;\npath;pid", ""),
)
ROWS = (
    "a.jpg,1,x,train",
    "b.jpg,2,y,train",
    "Zoë d.jpg,2,,test",
    "sub\\c.jpg,3,nan,Train",
    "./a.jpg,1,,",
    "a.jpg,1,x,0.5,3",
    "b.jpg,2,y,2026-05-01T12:00:07,3",
)
LINK_HEADERS = (*["path_a,path_b,kind,source,priority,time,author"] * 3, "path_a;path_b;kind", "")
LINK_ROWS = (
    "a.jpg,b.jpg,must,human,2,now,ann",
    "./b.jpg,a.jpg,cannot",
    "sub\\c.jpg,,ignore",
    "a.jpg,b.jpg,revoke,time,-3",
    "a.jpg,a.jpg,must",
    "a.jpg,nobody.jpg,cannot,other",
)


@always_the_same
@given(
    content=files(HEADERS, ROWS, [",", ",", ";", "\t"]),
    options=csv_options,
    split=st.sampled_from(["train", "query", "gallery"]),
)
def test_any_csv_file_is_read_or_refused_in_a_sentence(root, content, options, split):
    path = root / "list.csv"
    path.write_bytes(content)
    if split != "train":
        options.pop("labels", None)
    builds_or_says(lambda: CSVReIDDataset(split=split, ann_file=str(path), **options))


@always_the_same
@given(content=files(LINK_HEADERS, LINK_ROWS, [",", ",", ";", "\t"]))
def test_any_file_of_links_is_read_or_refused_in_a_sentence(root, content):
    (root / "links.csv").write_bytes(content)
    builds_or_says(lambda: FolderReIDDataset(str(root), labels="unlabeled", links="links.csv"))


@always_the_same
@given(content=files(("", "\n"), ("0001_1_02_x.jpg,3", ".\\0001_1_02_x.jpg,3"), [" ", "\t"]))
def test_any_list_of_msmt17_is_read_or_refused_in_a_sentence(root, content):
    (root / "list_train.txt").write_bytes(content)
    builds_or_says(lambda: MSMT17(str(root), include_val=False, labels="unlabeled"))


@always_the_same
@given(content=files(("", "\n"), ("a,3", "b,4", "0001_1_02_x,4"), [" ", "\t"]))
def test_any_list_of_vehicleid_is_read_or_refused_in_a_sentence(root, content):
    (root / "VehicleID" / "train_test_split" / "train_list.txt").write_bytes(content)
    builds_or_says(lambda: VehicleID(str(root), labels="unlabeled"))


pieces = st.sampled_from(
    [
        r"(?P<pid>",
        r"(?P<camid>",
        r"(?P<time>",
        r"(?P<tracklet>",
        ")",
        "?",
        r"\d+",
        ".",
        "[a-z]",
        "[",
        "a",
        "{2}",
        "{99999999999}",
        "|",
        "*",
    ]
)


@always_the_same
@given(
    pattern=st.one_of(st.lists(pieces, max_size=6).map("".join), st.text(max_size=6), st.none()),
    extensions=st.one_of(st.just("jpg"), st.lists(st.text(max_size=4), max_size=2)),
    split_folders=st.one_of(
        st.none(),
        st.dictionaries(
            st.just("train"),
            st.sampled_from([".", "..", "sub", "./sub/", "no", "", "/", "a.jpg", "\0"]),
        ),
    ),
    labels=st.sampled_from(["ground_truth", "unlabeled"]),
    folders=st.one_of(
        st.none(),
        st.sampled_from(["camera", "tracklet", "none", "x"]),
        st.lists(st.sampled_from(["identity", "camera", "tracklet", "none"]), max_size=3),
    ),
)
def test_any_options_of_a_folder_are_met_or_refused_in_a_sentence(
    root, pattern, extensions, split_folders, labels, folders
):
    builds_or_says(
        lambda: FolderReIDDataset(
            str(root / "train"),
            pattern=pattern,
            extensions=extensions,
            split_folders=split_folders,
            labels=labels,
            folders=folders,
        )
    )
