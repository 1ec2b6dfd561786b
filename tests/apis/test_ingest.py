"""Images into a gallery: each once, whatever happens on the way."""

import os
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmreid_uda.apis.ingest import Found, Ingest, find_images, watch
from mmreid_uda.gallery import FileGallery, GallerySettings, Items, content_id
from mmreid_uda.utils import InputError


def mean_colors(paths):
    """Features that tell images apart: their mean color, and a constant."""
    rows = [[*cv2.imread(path).mean((0, 1)), 9.0] for path in paths]
    rows = np.array(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def gallery():
    return FileGallery(Items.of(None, []), GallerySettings())


@pytest.fixture
def images(tmp_path):
    """Nine pictures of one color each."""
    paths = []
    for number in range(9):
        paths.append(str(tmp_path / f"{number}.png"))
        cv2.imwrite(paths[-1], np.full((8, 4, 3), 20 * number + 10, np.uint8))
    return paths


def test_an_image_is_its_content(gallery, images, tmp_path):
    ingest = Ingest(gallery, mean_colors, batch_size=4)
    done = []
    report = ingest(Found.of_files(images), done.append)
    assert (report.added, report.present, done) == (9, 0, [4, 8, 9])
    renamed = str(tmp_path / "renamed.png")
    os.rename(images[2], renamed)
    copy = str(tmp_path / "copy.png")
    cv2.imwrite(copy, cv2.imread(images[5]))
    report = ingest(Found.of_files([renamed, images[3], images[5], copy]))
    assert (report.added, report.changed, report.present) == (0, 1, 3)
    [stored] = gallery.scan()
    assert sorted(stored.ids) == sorted(
        content_id(Path(p)) for p in [*images[:2], renamed, *images[3:]]
    )
    assert gallery.get([content_id(Path(renamed))]).paths == [renamed]


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_files_of_one_content_take_no_turns(gallery, images, tmp_path, batch_size):
    copy = str(tmp_path / "other" / "copy.png")
    os.mkdir(tmp_path / "other")
    shutil.copy(images[0], copy)
    found = Found.of_files([*images[:4], copy])
    found = replace(found, cameras=np.array(["a", "a", "a", "a", "b"]))
    found = replace(found, identities=np.array(["", "", "", "", "eve"]))
    ingest = Ingest(gallery, mean_colors, batch_size)
    ingest(found)
    for _ in range(2):
        report = ingest(found)
        assert (report.added, report.changed, report.present) == (0, 0, 5)
    stored = gallery.get([content_id(Path(copy))])
    assert stored.paths == images[:1] and stored.cameras.tolist() == ["a"]
    assert stored.identities.tolist() == ([""] if batch_size == 256 else ["eve"])
    os.remove(images[0])
    assert ingest(found.chosen([4])).changed == 1  # now it is the file
    stored = gallery.get([content_id(Path(copy))])
    assert stored.paths == [copy] and stored.cameras.tolist() == ["b"]


def test_a_name_that_is_no_text_is_skipped(gallery, images, tmp_path):
    broken = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    shutil.copy(images[3], broken)
    report = Ingest(gallery, mean_colors)(Found.of_files([broken, *images[:2]]))
    assert report.skipped == [broken] and report.added == 2


def test_what_was_written_stays_when_the_model_fails(gallery, images):
    def fails_late(paths):
        if images[6] in paths:
            raise RuntimeError("out of memory")
        return mean_colors(paths)

    with pytest.raises(RuntimeError, match="out of memory"):
        Ingest(gallery, fails_late, batch_size=3)(Found.of_files(images))
    assert len(gallery) == 6
    asked = []

    def counts(paths):
        asked.extend(paths)
        return mean_colors(paths)

    report = Ingest(gallery, counts, batch_size=3)(Found.of_files(images))
    assert (report.added, report.present) == (3, 6) and asked == images[6:]
    once = FileGallery(Items.of(None, []), GallerySettings())
    Ingest(once, mean_colors)(Found.of_files(images))
    [one], [other] = gallery.scan(), once.scan()
    assert one.ids == other.ids
    np.testing.assert_array_equal(one.features, other.features)


def test_what_cannot_be_read_is_told_and_what_is_known_is_kept(gallery, images, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    found = Found(
        [images[0], str(broken), str(tmp_path / "gone.png")],
        np.array(["door", "door", "hall"]),
        np.array([5.0, 6.0, 7.0]),
        np.array(["door/1", "", ""]),
        np.array(["Ann", "", ""]),
    )
    report = Ingest(gallery, mean_colors)(found)
    assert report.skipped == [str(tmp_path / "gone.png"), str(broken)] and report.added == 1
    # Nothing is said of it now: what was known stays.
    assert Ingest(gallery, mean_colors)(Found.of_files(images[:1])).present == 1
    [items] = gallery.scan()
    assert items.cameras.tolist() == ["door"] and items.times.tolist() == [5.0]
    assert items.tracklets.tolist() == ["door/1"] and items.identities.tolist() == ["Ann"]
    later = Found(images[:1], np.array([""]), np.array([8.0]), np.array([""]), np.array(["Bo"]))
    assert Ingest(gallery, mean_colors)(later).changed == 1
    [items] = gallery.scan()
    assert items.times.tolist() == [8.0] and items.identities.tolist() == ["Bo"]
    assert items.cameras.tolist() == ["door"]


def test_names_of_tracklets_stay_when_others_come(crops, tmp_path):
    rows = ["path,camid,time,tracklet", f"{crops[0]},hall,1,7", f"{crops[1]},hall,2,9"]
    table = tmp_path / "crops.csv"
    table.write_text("\n".join(rows) + "\n")
    before = find_images([str(tmp_path)])
    assert before.tracklets.tolist() == ["hall/7", "hall/9"]
    table.write_text("\n".join([*rows, f"{crops[2]},door,1,7", f"{crops[3]},hall,3,1"]) + "\n")
    after = find_images([str(table)])
    named = dict(zip(after.paths, after.tracklets.tolist()))
    assert named == {crops[0]: "hall/7", crops[1]: "hall/9", crops[2]: "door/7", crops[3]: "hall/1"}
    assert dict(zip(after.paths, after.cameras.tolist()))[crops[2]] == "door"


def test_a_watched_folder_gives_whole_files_once(gallery, images):
    seen, said = [], []
    script = iter(
        [images[:2], images[:2], InputError("it is gone."), InputError("it is gone."), images[:3]]
    )

    def look():
        step = next(script, images[:3])
        if isinstance(step, InputError):
            raise step
        return Found.of_files(step)

    reports = watch(look, Ingest(gallery, mean_colors), 0.0, said.append)
    for report in islice(reports, 7):
        seen.append(report.added)
    assert seen == [0, 2, 0, 0, 0, 1, 0] and said == ["it is gone."]
    # A file that is written to is left alone until it rests, and is another item then.
    with open(images[0], "ab") as file:
        file.write(b"x")
    assert next(reports).added == 0
    with open(images[0], "ab") as file:
        file.write(b"y")
    assert [one.added for one in islice(reports, 3)] == [0, 1, 0]
    assert len(gallery) == 4


def test_wrong_words_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="neither a file, a folder nor a dataset 'nowhere'"):
        find_images(["nowhere"])
    with pytest.raises(InputError, match="found 0 images"):
        find_images([str(tmp_path)])
