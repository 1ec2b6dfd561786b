"""Galleries whose process is killed while it adds items: is everything there that it has acknowledged?"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from mmreid_uda.gallery import Filter, GallerySettings, Items, open_gallery
from mmreid_uda.utils import make_rng

__all__ = ["kill_while_adding"]

_DIM = 32
_PARTS = 1000
# Seconds that a killed process has worked, of which one is drawn for each.
_LONGEST = 1.5
# The first words of a worker that is killed come after this many seconds at the latest.
_PATIENCE = 120


def part(seed: int, number: int) -> Items:
    """What is added at one time: one item, or some."""
    rng = make_rng(seed, number)
    num = int(rng.choice([1, 1, 1, 20]))
    features = rng.standard_normal((num, _DIM)).astype(np.float32)
    names = [f"{seed}/{number}/{one}.jpg" for one in range(num)]
    return Items.of(features, names, cameras=["gate"] * num, times=[float(number)] * num)


def _work(folder: str, said: Connection, seed: int) -> None:
    """Add parts, change and delete some, and tell what is acknowledged, until somebody kills this process."""
    with open_gallery(folder, create=GallerySettings()) as gallery:
        said.send("begun")
        for number in range(_PARTS):
            items = part(seed, number)
            gallery.add(items)
            said.send(("added", number))
            if number % 5 == 2:
                gallery.update(items.ids[:1], identity=f"id {number}")
                said.send(("told", number))
            if number % 7 == 3:
                gallery.delete(Filter(ids=part(seed, number - 1).ids))
                said.send(("deleted", number - 1))


def kill_while_adding(folder: Path, kills: int, seed: int = 0) -> dict[str, int]:
    """Add to one gallery in one process after the other, each of which is killed (SIGKILL) at a random moment.

    Args:
        folder: Of the gallery, not there.
        kills: Processes.
        seed: Of the items and moments.

    Returns:
        ``kills``, ``acknowledged``: changes that were; ``items``: that must be there; ``lost``: those that are not, or
        not as they were, and deleted ones that are.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["mmreid_uda.gallery"])
    acknowledged, lost, expected = 0, 0, 0
    for number in range(kills):
        own = 1000 * seed + number
        heard, said = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(str(folder), said, own), daemon=True)
        worker.start()
        said.close()
        if not heard.poll(_PATIENCE):
            worker.kill()
            raise RuntimeError(f"the worker has not begun within {_PATIENCE} seconds")
        heard.recv()
        time.sleep(float(make_rng(own, "moment").uniform(0, _LONGEST)))
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        done = _heard(heard)
        acknowledged += len(done)
        found_lost, there = _lost(folder, own, done)
        lost += found_lost
        expected += there
    return dict(kills=kills, acknowledged=acknowledged, items=expected, lost=lost)


def _heard(heard: Connection) -> list[tuple[str, int]]:
    """All that a worker has said before its end; the last word may be cut."""
    done = []
    try:
        while heard.poll():
            done.append(heard.recv())
    except (EOFError, OSError):
        pass
    return done


def _lost(folder: Path, seed: int, done: list[tuple[str, int]]) -> tuple[int, int]:
    """How many items are not as they were acknowledged, and how many must be there."""
    added = [number for word, number in done if word == "added"]
    told = {number for word, number in done if word == "told"}
    gone = {number for word, number in done if word == "deleted"}
    # What was being deleted when the process ended may be there or not.
    open_ = {n - 1 for n in added if n % 7 == 3} - gone
    lost = there = 0
    with open_gallery(folder) as gallery:
        for number in added:
            items = part(seed, number)
            num = gallery.count(Filter(ids=items.ids))
            if number in gone:
                lost += num
            elif number not in open_:
                there += len(items)
                lost += len(items) - num
                if num == len(items):
                    found = gallery.get(items.ids, features=True)
                    assert found.features is not None and items.features is not None
                    same = np.equal(found.features, items.features).all(1)
                    lost += len(same) - int(same.sum())
                    lost += number in told and found.identities[0] != f"id {number}"
    return lost, there
