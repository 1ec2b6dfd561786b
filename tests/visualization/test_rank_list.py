"""Rank lists: frames say right or wrong, unreadable images are named."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmreid_uda.utils import InputError
from mmreid_uda.visualization import Ranked, draw_rank_list, query_caption
from mmreid_uda.visualization.tiles import read_crop


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "person.png"
    cv2.imwrite(str(path), np.full((40, 20, 3), 200, np.uint8))
    return str(path)


def test_right_matches_are_green_and_wrong_ones_red(image):
    found = [Ranked(image, "7", True), Ranked(image, "8", False)]
    picture = draw_rank_list([(image, found)], ["query 1"], size=(32, 16))
    middle = picture[22 + 20]  # below the caption, halfway down the row
    tile, gap = 16 + 2 * 4, 6
    right, wrong = middle[tile + 2 * gap], middle[2 * tile + 3 * gap]
    assert right.argmax() == 1 and wrong.argmax() == 2


def test_names_and_identities_stand_below_the_images(image, tmp_path):
    def text(ranked):
        """Dark pixels below the second image."""
        picture = draw_rank_list([(image, [ranked])])
        return (picture[136:, 72 + 2 * 6 :].max(2) < 120).sum(1)

    longer = tmp_path / "0001_c1s1_001051_00.png"
    longer.write_bytes(Path(image).read_bytes())
    short, two_lines = text(Ranked(image, "7", True)), text(Ranked(str(longer), "7", True))
    assert short[:11].any() and short[22:].any()
    assert two_lines[13:22].sum() > short[13:22].sum() + 10  # beside the tails of the first line
    assert (text(Ranked(image, "8", True)) != short).any()


def test_a_query_is_described_as_the_data_name_it():
    assert query_caption("a/b.jpg", "s1", 3, 0.5) == "b.jpg, identity s1, camera 3, AP 50.0 %"
    assert query_caption("b.jpg", 7) == "b.jpg, identity 7"
    with pytest.raises(InputError, match="found 0 queries to draw"):
        draw_rank_list([])


def test_an_unreadable_image_is_named(tmp_path):
    with pytest.raises(InputError, match="none"):
        draw_rank_list([(str(tmp_path / "none.jpg"), [])])


def test_a_name_that_is_not_utf8_is_read(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Path(path).write_bytes(cv2.imencode(".png", np.full((4, 2, 3), 7, np.uint8))[1].tobytes())
    assert (read_crop(path) == 7).all() and read_crop(path).shape == (4, 2, 3)
