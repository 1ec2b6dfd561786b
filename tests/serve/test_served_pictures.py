"""Thumbnails: of the file as it is now, bounded, gone with the image."""

import io
import os

import numpy as np
import pytest
from PIL import Image
from serving import picture_bytes

from mmreid_uda.serve.pictures import Thumbnails, read_picture


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(picture_bytes(1, 2, size=(300, 600)))
    return path


def test_a_thumbnail_is_the_picture_made_small(tmp_path, photo):
    thumbnails = Thumbnails(tmp_path / "small", 10**6)
    for asked, side in ((16, 64), (64, 64), (65, 128), (200, 256)):
        small = Image.open(io.BytesIO(thumbnails.of(photo, asked)))
        assert small.size == (side // 2, side)
        expected = Image.open(photo).resize(small.size, Image.Resampling.BOX)
        difference = np.abs(np.asarray(small, int) - np.asarray(expected, int)).mean()
        assert difference < 3
    assert len(list((tmp_path / "small").iterdir())) == 3


def test_a_file_that_has_changed_gets_a_new_thumbnail(tmp_path, photo):
    thumbnails = Thumbnails(tmp_path / "small", 10**6)
    first = thumbnails.of(photo, 64)
    photo.write_bytes(picture_bytes(1, 5, size=(300, 600)))
    os.utime(photo, (1, 1))
    assert thumbnails.of(photo, 64) != first
    assert thumbnails.of(photo, 64) == thumbnails.of(photo, 64)


def test_those_that_were_not_asked_for_longest_go_first(tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(6)]
    for number, path in enumerate(paths):
        path.write_bytes(picture_bytes(number, size=(64, 64)))
    size = len(Thumbnails(None, 10**6).of(paths[0], 64))
    thumbnails = Thumbnails(tmp_path / "small", int(size * 3.5))
    for path in (*paths[:3], paths[0], *paths[3:5]):
        thumbnails.of(path, 64)
    kept = {one.name for one in (tmp_path / "small").iterdir()}
    assert kept == {thumbnails._name(paths[number], 64) for number in (0, 3, 4)}
    assert thumbnails.total == sum(one.stat().st_size for one in (tmp_path / "small").iterdir())
    # A server that starts anew knows what is there, and tidies up.
    left = tmp_path / "small" / f".{'a' * 32}"
    left.write_bytes(b"x")
    again = Thumbnails(tmp_path / "small", int(size * 3.5))
    assert again.total == thumbnails.total and not left.exists()
    again.of(paths[5], 64)
    assert len(list((tmp_path / "small").iterdir())) == 3
    again.discard(paths[5])
    assert len(list((tmp_path / "small").iterdir())) == 2


def test_a_folder_that_nobody_named_goes_with_the_server(photo):
    thumbnails = Thumbnails(None, 10**6)
    thumbnails.of(photo, 64)
    folder = thumbnails.folder
    thumbnails.close()
    assert not folder.exists()


def test_what_browsers_do_not_show_becomes_a_jpeg(tmp_path):
    for form, kind in (("PNG", "image/png"), ("JPEG", "image/jpeg"), ("TIFF", "image/jpeg")):
        path = tmp_path / f"a.{form}"
        path.write_bytes(picture_bytes(1, 2, form))
        content, found = read_picture(path)
        assert found == kind and (content == path.read_bytes()) == (form != "TIFF")
        assert Image.open(io.BytesIO(content)).size == (32, 64)
    path.write_text("<svg onload='alert(1)'/>")
    with pytest.raises(ValueError):
        read_picture(path)
