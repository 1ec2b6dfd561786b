"""The features of the benchmarks look like those of a network."""

import numpy as np
import pytest
from synthetic_features import make_features


@pytest.fixture(scope="module")
def drawn():
    return make_features(1500, 60, 4, dim=256)


def test_features_are_unit_rows_of_all_identities_and_cameras(drawn):
    features, pids, camids = drawn
    assert features.shape == (1500, 256) and features.dtype == np.float32
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(1500), abs=1e-5)
    images_per_id = np.bincount(pids)
    assert len(images_per_id) == 60 and images_per_id.min() >= 2
    assert images_per_id.max() > 2 * np.median(images_per_id)
    assert np.unique(camids).tolist() == [0, 1, 2, 3]


def test_people_and_cameras_draw_images_together(drawn):
    features, pids, camids = drawn
    cosines = features @ features.T
    same_pid, same_camera = pids[:, None] == pids, camids[:, None] == camids
    mean = {
        (pid, camera): cosines[
            (same_pid == pid) & (same_camera == camera) & (cosines < 0.999)
        ].mean()
        for pid in (True, False)
        for camera in (True, False)
    }
    assert mean[True, False] > mean[False, True] > mean[False, False]


def test_no_coordinate_stands_out_but_the_spectrum_is_steep(drawn):
    features = drawn[0]
    spread = features.std(axis=0)
    assert spread.max() < 3 * np.median(spread)
    variances = np.linalg.eigvalsh(np.cov(features.T))[::-1]
    assert variances[:26].sum() > 0.35 * variances.sum()


def test_the_seed_decides(drawn):
    again = make_features(1500, 60, 4, dim=256)
    assert all(np.array_equal(one, other) for one, other in zip(drawn, again))
    assert not np.array_equal(drawn[0], make_features(1500, 60, 4, dim=256, seed=1)[0])


def test_few_images_leave_identities_out():
    assert len(np.unique(make_features(5, 8, 1, dim=16)[1])) == 5
