"""ConfidentLabels: what stays of given labels."""

import numpy as np
import pytest

from mmreid_uda.clustering import ConfidentLabels
from mmreid_uda.utils import InputError

LABELS = np.array([0, 1, 0, 1, 0, 2, -1, 1])
CONFIDENCE = np.array([0.95, 0.2, 0.1, 0.3, 0.9, 0.05, 0.0, 0.1])
FEATURES = np.ones((8, 3), np.float32)


def probabilities():
    """A table whose entry of the given label is the confidence."""
    table = np.repeat((1 - CONFIDENCE)[:, None] / 2, 3, axis=1)
    table[np.arange(8), LABELS.clip(0)] = CONFIDENCE
    return table


def kept(epoch=0, **options):
    clusterer = ConfidentLabels(**options)
    extras = dict(true_labels=LABELS, probabilities=probabilities())
    return clusterer(FEATURES, seed=0, epoch=epoch, **extras).tolist()


def test_sure_images_stay_and_some_of_every_class():
    assert kept(threshold=0.9, min_per_class=2) == [0, 1, -1, 1, 0, 2, -1, -1]
    assert kept(threshold=0.9, min_per_class=1) == [0, -1, -1, 1, 0, 2, -1, -1]
    assert kept(threshold=0.15, min_per_class=1) == [0, 1, -1, 1, 0, 2, -1, -1]


def test_all_labels_stay_before_the_first_epoch():
    assert kept(epoch=4, first_epoch=5) == LABELS.tolist()
    assert kept(epoch=5, first_epoch=5) != LABELS.tolist()


def test_bad_options_and_a_missing_model_are_named():
    with pytest.raises(InputError, match="threshold=1"):
        ConfidentLabels(threshold=1)
    with pytest.raises(InputError, match="found no probabilities"):
        ConfidentLabels()(FEATURES, seed=0, epoch=0, true_labels=LABELS)


def test_a_network_that_is_sure_of_nan_is_refused():
    table = probabilities()
    table[3, 1] = np.nan
    extras = dict(true_labels=LABELS, probabilities=table)
    with pytest.raises(InputError, match=r"1 row with NaN, .* 8 probabilities of the classes"):
        ConfidentLabels()(FEATURES, seed=0, epoch=0, **extras)
