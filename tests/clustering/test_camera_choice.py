"""One-camera clusters beside chance, and the choice of what cameras are used for."""

import numpy as np
import pytest

from mmreid_uda.clustering import choose_camera, one_camera_share
from mmreid_uda.clustering.camera_choice import across_cameras
from mmreid_uda.utils import InputError

CAMERAS = np.tile([0, 1], 20)
BY_CAMERA = np.repeat(np.arange(5), 8) * 2 + CAMERAS
BY_PERSON = np.repeat(np.arange(10), 4)


@pytest.mark.parametrize("seed", range(4))
def test_chance_is_that_of_cameras_dealt_out_anew(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 12, 60)
    cameras = rng.choice([-1, 0, 1, 2], 60, p=[0.1, 0.5, 0.3, 0.1])
    share, chance = one_camera_share(labels, cameras)
    known = (labels >= 0) & (cameras >= 0)

    def count(own):
        members = [own[labels[known] == one] for one in np.unique(labels[known])]
        return np.mean([np.ptp(one) == 0 for one in members if len(one) > 1])

    dealt = cameras[known]
    assert share == count(dealt)
    simulated = [count(rng.permutation(dealt)) for _ in range(3000)]
    assert chance == pytest.approx(np.mean(simulated), abs=4 * np.std(simulated) / np.sqrt(3000))


def test_clusters_by_hand():
    # Four images of two cameras, two each: a pair of one camera is drawn with chance 1/3.
    assert one_camera_share(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])) == pytest.approx((1, 1 / 3))  # fmt: skip
    assert one_camera_share(np.array([0, 1, 2]), np.array([0, 1, 1])) == (0, 0)
    assert one_camera_share(np.array([0, 0]), np.array([-1, 1])) == (0, 0)
    # Half of the images are in clusters across cameras, a quarter in one of a single camera.
    labels, cameras = np.array([0, 0, 1, 1, -1, -1, 2, 2]), np.array([0, 1, 0, 1, 0, 0, 1, 1])
    assert across_cameras(labels, cameras) == pytest.approx(0.5 * 0.75 * np.log(4))
    assert across_cameras(labels, np.zeros(8, int)) == across_cameras(-1 + 0 * labels, cameras) == 0


def test_clusters_that_mix_cameras_leave_them_alone():
    asked = []
    mode, metrics = choose_camera(lambda mode: asked.append(mode) or BY_PERSON, CAMERAS)
    assert (mode, asked) == ("none", ["none"])
    assert metrics["one_camera_share"] == 0 < metrics["one_camera_chance"]


@pytest.mark.parametrize(
    "center, jaccard, both, expected",
    [
        (BY_PERSON, BY_PERSON, BY_PERSON, "center"),
        (np.where(BY_PERSON < 3, BY_PERSON, -1), BY_PERSON, BY_PERSON, "jaccard"),
        (BY_CAMERA, BY_PERSON // 9, BY_PERSON, "both"),
        (BY_CAMERA, BY_CAMERA, BY_CAMERA, "none"),
        (0 * BY_PERSON, BY_PERSON, 0 * BY_PERSON, "jaccard"),
    ],
)
def test_the_mode_that_says_most_across_cameras_is_chosen(center, jaccard, both, expected):
    labels = dict(none=BY_CAMERA, center=center, jaccard=jaccard, both=both)
    mode, metrics = choose_camera(labels.__getitem__, CAMERAS)
    assert mode == expected and metrics["one_camera_share"] == 1
    assert {f"across_cameras_{one}" for one in labels} <= metrics.keys()
    assert choose_camera(labels.__getitem__, CAMERAS, ("none",))[0] == "none"


def test_a_mode_with_too_few_images_is_left_out():
    def label(mode):
        if mode in ("jaccard", "both"):
            raise InputError("too few images")
        return BY_CAMERA if mode == "none" else BY_PERSON

    mode, metrics = choose_camera(label, CAMERAS)
    assert mode == "center" and "across_cameras_both" not in metrics
