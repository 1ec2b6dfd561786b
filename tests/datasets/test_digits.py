"""The digits: split between two people's blocks, in the range of ordinary images."""

import numpy as np
import pytest

from mmreid_uda.datasets import DigitsDataset
from mmreid_uda.utils import InputError

# Everyone wrote the same sequence: it begins with 0..9 three times and ends with these ten.
BEGIN, END = [*range(10)] * 3, [5, 4, 8, 8, 4, 9, 0, 8, 9, 8]


@pytest.fixture(scope="module")
def halves():
    return [DigitsDataset(split=split) for split in ("train", "test")]


def test_the_split_is_where_one_writer_ends_and_the_next_begins(halves):
    train, test = ([item["gt_label"] for item in half] for half in halves)
    assert len(train) == 906 and len(test) == 891
    assert train[:30] == BEGIN and train[776:806] == BEGIN, "a block of 130 begins at 776"
    assert train[120:130] == train[-10:] == test[-10:] == END
    assert test[:29] == BEGIN[1:], "the first 0 of this block is not in the file"


def test_images_are_gray_and_use_the_whole_range(halves):
    images = np.stack([item["img"] for half in halves for item in half])
    assert images.shape == (1797, 8, 8, 3) and images.dtype == np.uint8
    assert images.min() == 0 and images.max() == 255
    assert (images == images[..., :1]).all()
    with pytest.raises(InputError, match="split='val'"):
        DigitsDataset(split="val")
