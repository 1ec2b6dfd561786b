"""The sentence of an InputError survives a data loader's worker."""

import pytest
from torch.utils.data import DataLoader, Dataset

from mmreid_uda.utils import InputError


class Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise InputError("found a corrupt image 'a.jpg', expected a JPEG.")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_sentence_is_the_same_with_and_without_workers(num_workers):
    with pytest.raises(InputError) as caught:
        list(DataLoader(Broken(), num_workers=num_workers))
    assert str(caught.value) == "found a corrupt image 'a.jpg', expected a JPEG."


def test_a_name_with_a_line_break_leaves_one_sentence():
    assert str(InputError("found the key 'a\nb'.")) == r"found the key 'a\nb'."
