"""Batches of camera proxies, and the warning about batches of another size than the methods were tuned for."""

from collections import Counter

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler

from mmreid_uda.datasets.samplers import ProxyBalancedSampler
from mmreid_uda.structures import Evidence, split_by_camera


class Images:
    """A target of labels and cameras without pictures; each unknown camera has a number of its own, as in data sets."""

    domain = 1

    def __init__(self, labels, cameras):
        self.labels, self.target = labels, self
        self.camids = np.where(cameras < 0, 100 + np.arange(len(labels)), cameras)
        self.evidence = Evidence(cameras)

    def __len__(self):
        return len(self.labels)


def test_batches_have_as_many_images_of_each_of_their_proxies():
    rng = np.random.default_rng(0)
    labels, cameras = rng.integers(-1, 12, 300), rng.integers(-1, 4, 300)
    images = Images(labels, cameras)
    proxies, clusters, _ = split_by_camera(labels, cameras)
    sizes = np.bincount(proxies[proxies >= 0])
    assert sizes.min() < 4 <= sizes.max()
    sampler = ProxyBalancedSampler(
        DefaultSampler(images, shuffle=False), batch_size=32, num_instances=4
    )
    drawn = sampler.draw_pass(1, labels, images.camids, np.random.default_rng(1))
    assert Counter(proxies[drawn]) == dict.fromkeys(range(len(clusters)), 4)
    for four in drawn.reshape(-1, 4):
        [proxy] = set(proxies[four])
        assert len(set(four)) == 4 or sizes[proxy] < 4
    order = proxies[drawn[::4]].tolist()
    assert order != sorted(order), "the proxies are not in random order"
    for batch in sampler.plan(1):
        assert Counter(Counter(proxies[batch]).values()) == {4: 8}


@pytest.mark.parametrize(
    ("batch_size", "warned"), [(8, True), (16, False), (64, False), (256, True)]
)
def test_a_batch_far_from_the_released_one_is_a_warning(monkeypatch, batch_size, warned):
    said = []
    monkeypatch.setattr(
        "mmreid_uda.datasets.samplers.proxy_balanced.print_log", lambda text, *_: said.append(text)
    )
    sampler = DefaultSampler(Images(np.zeros(300, int), np.zeros(300, int)), shuffle=False)
    ProxyBalancedSampler(sampler, batch_size, num_instances=4)
    assert [f"batches of {batch_size} images" in text for text in said] == [True] * warned
