"""One forward pass at a time, for all who wait."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mmreid_uda.serve.embedder import Embedder
from mmreid_uda.utils import InputError


class Slow:
    """Features are the first pixels; counts how many forward passes overlap."""

    fingerprint = "f"
    cfg = SimpleNamespace(test_pipeline=[{"type": "LoadReIDImage", "imdecode_backend": "pillow"}])

    def __init__(self):
        self.batches, self.inside = [], 0
        self.started, self.going = threading.Event(), threading.Event()

    def extract(self, images):
        self.inside += 1
        assert self.inside == 1
        self.batches.append(len(images))
        self.started.set()
        assert self.going.wait(20)
        self.inside -= 1
        if any(image[0, 0, 0] == 255 for image in images):
            raise InputError("found features that are not finite")
        return np.array([image[0, 0] for image in images], np.float32)


def images(*values):
    return [np.full((2, 2, 3), value, np.uint8) for value in values]


def test_clients_that_wait_share_a_forward_pass_and_get_their_own_rows():
    model = Slow()
    embedder = Embedder(model)
    assert embedder.decoder == "pillow"
    results = {}

    def ask(number, num):
        results[number] = embedder.extract(images(*range(number, number + num)))

    threads = [threading.Thread(target=ask, args=(0, 1))]
    threads[0].start()
    assert model.started.wait(20)
    for number, num in ((10, 2), (20, 1), (30, 3)):
        threads.append(threading.Thread(target=ask, args=(number, num)))
        threads[-1].start()
    while len(embedder._waiting) < 3:
        time.sleep(0.001)
    model.going.set()
    for thread in threads:
        thread.join(20)
    assert model.batches == [1, 6]
    for number, rows in results.items():
        assert rows[:, 0].tolist() == list(range(number, number + len(rows)))
    assert sum(map(len, results.values())) == 7


def test_an_error_reaches_all_whose_images_it_meets_and_no_later_one():
    model = Slow()
    model.going.set()
    embedder = Embedder(model)
    with pytest.raises(InputError, match="not finite"):
        embedder.extract(images(255))
    assert embedder.extract(images(3))[0, 0] == 3
