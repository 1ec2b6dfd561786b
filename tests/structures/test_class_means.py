"""The mean of what belongs to a class."""

import torch

from mmreid_uda.structures import class_means


def test_means_equal_a_loop_and_a_class_without_images_is_zero():
    features = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 6 - 1  # -1, 0, ..., 4, ten images each or nine
    labels[labels == 2] = 3
    means = class_means(features, labels, 6)
    assert means.shape == (6, 8) and means.dtype == torch.float32
    for label in (0, 1, 3, 4):
        torch.testing.assert_close(means[label], features[labels == label].mean(0))
    assert not means[[2, 5]].any()


def test_without_inliers_there_is_nothing():
    assert class_means(torch.ones(3, 2), torch.full((3,), -1), 0).shape == (0, 2)
