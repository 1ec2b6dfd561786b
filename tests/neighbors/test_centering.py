"""Centering takes away what the images of a camera have in common, and little of what few subjects have."""

import numpy as np
import pytest
import torch

from mmreid_uda.neighbors import center_cameras, unit_rows
from mmreid_uda.utils import InputError


def people(num_cameras=2, shift=1.0, seed=0):
    """Features of 40 people, each twice in front of every camera; their cameras and identities."""
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(40), 2 * num_cameras)
    cameras = np.tile(np.arange(num_cameras), 80)
    features = rng.standard_normal((40, 64))[pids] + 0.5 * rng.standard_normal((len(pids), 64))
    offsets = shift * rng.standard_normal((num_cameras, 64))
    return unit_rows(features + offsets[cameras]), cameras, pids


def test_it_is_the_formula():
    features, cameras, _ = people()
    cameras[:5], cameras[5] = -1, 7
    expected = features.astype(np.float64)
    mean = expected.mean(0)
    for camera in (0, 1, 7):
        own = cameras == camera
        num = own.sum()
        expected[own] -= (num * features[own].mean(0) + 3 * mean) / (num + 3)
    expected[:5] -= mean
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = center_cameras(features, cameras)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    tensor = center_cameras(torch.from_numpy(features), torch.from_numpy(cameras))
    np.testing.assert_array_equal(tensor.numpy(), found)


def test_people_are_found_across_cameras():
    features, cameras, pids = people(shift=4.0)

    def found_first(rows):
        across = np.where(cameras[:, None] == cameras, -np.inf, rows @ rows.T)
        return (pids[across.argmax(1)] == pids).mean()

    assert found_first(features) < 0.6 < 0.95 < found_first(center_cameras(features, cameras))


def test_the_only_image_of_a_camera_keeps_its_direction():
    features, cameras, _ = people()
    cameras[3] = 5
    found = center_cameras(features, cameras)
    assert found[3] @ unit_rows(features - features.mean(0))[3] > 0.999


def test_images_that_are_all_alike_stay_as_they_are():
    features = np.repeat(unit_rows(np.ones((1, 8))), 5, 0)
    np.testing.assert_allclose(center_cameras(features, np.arange(5)), features)


def test_another_number_of_cameras_is_named():
    with pytest.raises(InputError, match="for 160 features"):
        center_cameras(people()[0], np.zeros(3, int))
