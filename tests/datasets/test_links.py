"""links.csv: what holds in the end, what is refused, and writers that do not lose each other's rows."""

import csv
import threading
import unicodedata
from pathlib import Path

import pytest
from empty_files import touch

from mmreid_uda.datasets import FolderReIDDataset
from mmreid_uda.datasets.links import ImageFiles, append_links, read_links, resolve_links
from mmreid_uda.utils import InputError

HEADER = "path_a,path_b,kind,source,priority,time,author\n"


@pytest.fixture
def pile(tmp_path):
    """Reads a pile of five images with the rows of a file of links."""
    touch(tmp_path, "a.jpg", "b.jpg", "sub/c.jpg", "d.jpg", "e.jpg")
    (tmp_path / "alias.jpg").symlink_to(tmp_path / "d.jpg")

    def read(text, header=HEADER):
        (tmp_path / "links.csv").write_text(header + text)
        return FolderReIDDataset(str(tmp_path), labels="unlabeled", links="links.csv")

    return read


def found(dataset):
    """The links by names, in their order."""
    names = [path.rsplit("/", 1)[1][0] for path in dataset.paths]
    links = dataset.evidence.links
    return [
        (names[a] + names[b], bool(must), int(priority))
        for a, b, must, priority in zip(links.first, links.second, links.must, links.priority)
    ]


def test_links_are_found_by_file_and_the_last_word_about_a_pair_counts(pile, tmp_path):
    dataset = pile(
        "a.jpg,b.jpg,must,human,,,ann\n"
        f"sub\\c.jpg,{tmp_path}/b.jpg,cannot,tracklet,,,\n"
        "alias.jpg,./a.jpg,Must,,7,2026-05-01,bob\n"
        "b.jpg,a.jpg,cannot,,,,bob\n"
        "e.jpg,a.jpg,must,time,,,\n"
        "a.jpg,e.jpg,revoke,,,,ann\n"
        "a.jpg,a.jpg,must,,,,\n"
    )
    # Sorted by path: a, alias (which is d), b, e, sub/c.
    assert found(dataset) == [("bc", False, 1), ("aa", True, 7), ("ab", False, 2)]
    assert "rows of" not in "".join(dataset.notes) and not dataset.evidence.ignored.any()


def test_images_to_ignore_may_be_taken_back(pile):
    dataset = pile("a.jpg,,ignore\nb.jpg,,ignore\na.jpg,,revoke\n", "path_a,path_b,kind\n")
    names = [path[-5] for path in dataset.paths]
    assert [name for name, out in zip(names, dataset.evidence.ignored) if out] == ["b"]
    assert len(dataset.evidence.links) == 0


def test_rows_about_other_images_are_counted(pile, tmp_path):
    dataset = pile(
        "a.jpg,x.jpg,must\na.jpg,b.jpg,must\nlinks.csv,,ignore\n", "path_a,path_b,kind\n"
    )
    assert found(dataset) == [("ab", True, 2)]
    assert (
        "2 of the 3 rows of 'links.csv' name images that are not among the 5" in dataset.notes[-1]
    )
    (tmp_path / "people").mkdir()
    touch(tmp_path, "people/p/1.jpg", "people/q/1.jpg")
    test = FolderReIDDataset(str(tmp_path / "people"), "query", links="no.csv")
    assert len(test.evidence.links) == 0  # links are for training


@pytest.mark.parametrize(
    "row, words",
    [
        ("a.jpg,b.jpg,same,,,,", "line 2 of .*links.csv' has the kind 'same', expected must"),
        ("a.jpg,b.jpg,must,robot,,,", "has the source 'robot', expected human"),
        ("a.jpg,b.jpg,must,,high,,", "has the priority 'high', expected a whole number"),
        ("a.jpg,,cannot,,,,", "has the kind cannot and too few paths, expected path_a and path_b"),
        (",,ignore,,,,", "has the kind ignore and too few paths, expected path_a;"),
        ("a.jpg,b.jpg,ignore,,,,", "has the kind ignore and a path_b, expected path_a alone"),
        ("a.jpg,a.jpg,cannot,,,,", "cannot for 'a.jpg' and itself, expected two images"),
        ("d.jpg,alias.jpg,cannot,,,,", "'d.jpg' and 'alias.jpg' show two subjects, but both are"),
        ("a.jpg,b.jpg,must,,,,,,x", "line 2 of .* has 9 cells, but the header 7"),
    ],
)
def test_a_row_that_cannot_be_understood_is_told(pile, row, words):
    with pytest.raises(InputError, match=words):
        pile(row + "\n")


def test_a_file_that_is_none_is_told(pile, tmp_path):
    with pytest.raises(InputError, match="has the columns 'a', 'b', but path_a, path_b, kind is m"):
        pile("", "a,b\n")
    with pytest.raises(InputError, match=r"links '.*no\.csv' is not a file .* set links"):
        FolderReIDDataset(str(tmp_path), labels="unlabeled", links="no.csv")


def test_writers_keep_each_others_rows_and_other_columns(tmp_path):
    path = tmp_path / "links.csv"
    path.write_text("kind;note;path_a;path_b\nmust;first, of all;a.jpg;b.jpg\n")

    def write(author):
        for number in range(5):
            row = dict(path_a=f"{number}.jpg", path_b="b.jpg", kind="cannot", author=author)
            append_links(path, [row, dict(path_a="c,d.jpg", kind="ignore", source="other")])

    threads = [threading.Thread(target=write, args=(f"author {one}",)) for one in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read_links(str(path))
    assert len(rows) == 1 + 4 * 5 * 2
    assert {row.priority for row in rows} == {1, 2} and rows[2].path_a == "c,d.jpg"
    with path.open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert cells[0]["note"] == "first, of all" and cells[1]["source"] == "human"
    assert cells[1]["time"].endswith("Z") and cells[1]["priority"] == "2"
    assert sorted({row["author"] for row in cells}) == ["", *(f"author {n}" for n in range(4))]
    before = path.read_bytes()
    for wrong in (dict(path_a="a", kind="must"), dict(path_a="a\0", kind="ignore")):
        with pytest.raises(InputError, match=r"row 2 for .* has "):
            append_links(path, [dict(path_a="a", kind="ignore"), wrong])
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"links.csv", ".links.csv.lock"}


def test_the_first_row_makes_the_file(tmp_path):
    path = tmp_path / "new" / "links.csv"
    append_links(path, [dict(path_a="a.jpg", path_b="b.jpg", kind="must", time="now")])
    header = HEADER.replace("\n", ",act\n")
    assert path.read_text() == header + "a.jpg,b.jpg,must,human,2,now,,\n"


def test_rows_can_follow_from_the_rows_that_are_there(tmp_path):
    path = tmp_path / "links.csv"

    def one_more(rows):
        return [dict(path_a=f"{len(rows)}.jpg", kind="ignore", act="count/1", author="B. B.")]

    threads = [
        threading.Thread(target=lambda: [append_links(path, one_more) for _ in range(5)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read_links(str(path))
    assert [row.path_a for row in rows] == [f"{number}.jpg" for number in range(20)]
    [written] = append_links(path, one_more)
    assert (written.path_a, written.act, written.author) == ("20.jpg", "count/1", "B. B.")
    assert read_links(str(path))[-1]._replace(place="") == written._replace(place="")


def test_an_accent_may_be_written_in_two_ways(tmp_path):
    decomposed = unicodedata.normalize("NFD", "ä.jpg")
    paths = [str(tmp_path / name) for name in (decomposed, "b.jpg")]
    for path in paths:
        Path(path).touch()
    for name in (decomposed, unicodedata.normalize("NFC", decomposed)):
        file = tmp_path / "links.csv"
        append_links(file, [dict(path_a=name, path_b="b.jpg", kind="must")])
        links, _, strangers = resolve_links(read_links(str(file)), ImageFiles(paths, str(tmp_path)))
        assert (len(links), strangers) == (1, 0)
        file.unlink()


@pytest.mark.parametrize("broken", ["a\rb", "\udcff"])
@pytest.mark.parametrize("cell", ["path_a", "author"])
def test_what_could_not_be_read_again_is_not_written(tmp_path, broken, cell):
    file = tmp_path / "links.csv"
    append_links(file, [dict(path_a="a", path_b="b", kind="must")])
    with pytest.raises(InputError, match="without carriage returns"):
        append_links(file, [{"path_a": "a", "path_b": "c", "kind": "must", cell: broken}])
    assert len(read_links(str(file))) == 1
