"""Rank lists: frames say right or wrong, unreadable images are named."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmreid_uda.utils import InputError
from mmreid_uda.visualization import draw_rank_list
from mmreid_uda.visualization.tiles import read_crop


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "person.png"
    cv2.imwrite(str(path), np.full((40, 20, 3), 200, np.uint8))
    return str(path)


def test_right_matches_are_green_and_wrong_ones_red(image):
    picture = draw_rank_list([(image, [(image, True), (image, False)])], ["query 1"], size=(32, 16))
    middle = picture[22 + 20]  # below the caption, halfway down the row
    tile, gap = 16 + 2 * 4, 6
    right, wrong = middle[tile + 2 * gap], middle[2 * tile + 3 * gap]
    assert right.argmax() == 1 and wrong.argmax() == 2


def test_an_unreadable_image_is_named(tmp_path):
    with pytest.raises(InputError, match="none"):
        draw_rank_list([(str(tmp_path / "none.jpg"), [])])


def test_a_name_that_is_not_utf8_is_read(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Path(path).write_bytes(cv2.imencode(".png", np.full((4, 2, 3), 7, np.uint8))[1].tobytes())
    assert (read_crop(path) == 7).all() and read_crop(path).shape == (4, 2, 3)
