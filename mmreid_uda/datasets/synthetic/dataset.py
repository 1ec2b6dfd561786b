"""The rendered dataset: a cache on disk in Market-1501's layout, and the adapter that reads it."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import IO, Annotated, Any, Literal

import cv2
import numpy as np
from annotated_types import Ge
from mmengine.logging import print_log

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import Split
from mmreid_uda.utils.values import Natural, checked

from ..market1501 import MarketStyleDataset
from .appearance import Identity
from .domains import DOMAINS
from .renderer import DomainRenderer

try:
    import fcntl
except ImportError:  # Windows: several processes may render at once; the first to finish wins
    fcntl = None  # type: ignore[assignment]

__all__ = ["RENDERER_VERSION", "SyntheticReID", "SyntheticSpec", "ensure_rendered", "is_complete"]

RENDERER_VERSION = 2
"""Raised whenever the same parameters give other images; caches of another version are rendered again."""

MANIFEST = "manifest.json"
FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
MAX_QUERIES_PER_ID = 3


Variant = Literal["a", "b", "c", "d", "e"]
_NumIds = Annotated[int, Ge(2)]
_NumImages = Annotated[int, Ge(4)]


@checked
@dataclass(frozen=True)
class SyntheticSpec:
    """What is rendered; equal specifications give equal images.

    Attributes:
        variant: Domain: ``'a'`` campus in summer, ``'b'`` street at dusk in winter, ``'c'`` hall from above, ``'d'``
            and ``'e'`` two cameras each that differ strongly.
        num_train_ids: Identities for training, numbered from 1.
        num_test_ids: Further identities for query and gallery.
        images_per_id: Mean number of images of an identity, at least 4; it varies by a third.
        seed: Seed of people, cameras and scenes.
    """

    variant: Variant = "a"
    num_train_ids: _NumIds = 150
    num_test_ids: _NumIds = 100
    images_per_id: _NumImages = 10
    seed: Natural = 0

    @property
    def folder_name(self) -> str:
        """The variant; for other than the default sizes followed by them, so that sizes do not fight for a folder."""
        if self == SyntheticSpec(self.variant):
            return self.variant
        return (
            f"{self.variant}_train{self.num_train_ids}_test{self.num_test_ids}"
            f"_images{self.images_per_id}_seed{self.seed}"
        )

    @property
    def num_distractors(self) -> int:
        """False detections and strangers in the gallery, identity 0."""
        return self.num_test_ids

    @property
    def num_junk(self) -> int:
        """Badly placed boxes of test identities, identity -1."""
        return self.num_test_ids // 2


@DATASETS.register_module()
class SyntheticReID(MarketStyleDataset):
    """Rendered pedestrians in 6 cameras, or in 2 as unlike as real ones, made on first use: re-ID without a download.

    With the default sizes 150 identities (about 1,500 images) to train on and 100 others (about 285 queries, 815
    gallery images with 100 distractors) to test. The crops of 128×64 pixels lie in
    ``<data_root>/synthetic/<variant>/``, laid out like Market-1501; rendering takes about ten seconds, once. Figures on
    these images compare methods and catch mistakes; they say nothing about real cameras.

    Args:
        data_root: Folder of the datasets.
        split: ``'train'``, ``'query'`` or ``'gallery'``.
        pipeline: See :class:`ReIDDataset`.
        variant: ``'a'`` campus in summer; ``'b'`` street at dusk in winter, dark clothes; ``'c'`` hall from above, low
            resolution; ``'d'`` and ``'e'`` two cameras each, so unlike that plain features cluster by camera.
        num_train_ids: Identities for training, at least 2.
        num_test_ids: Further identities for query and gallery, at least 2.
        images_per_id: Mean number of images of an identity, at least 4.
        render_seed: Seed of the people, cameras and scenes (``seed`` is that of the augmentation).
        name: See :class:`ReIDDataset`. Defaults to ``'synth<variant>'``.
        **kwargs: See :class:`ReIDDataset`.

    Raises:
        InputError: A parameter is out of range or the folder cannot be written.

    Example:
        >>> train_dataloader = dict(dataset=dict(type='SyntheticReID', data_root='data', variant='b'))
    """

    name = "synthetic"

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        variant: Variant = "a",
        num_train_ids: _NumIds = 150,
        num_test_ids: _NumIds = 100,
        images_per_id: _NumImages = 10,
        render_seed: Natural = 0,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        spec = SyntheticSpec(variant, num_train_ids, num_test_ids, images_per_id, render_seed)
        folder = ensure_rendered(data_root, spec)
        self.cameras = range(1, len(DOMAINS[variant].views) + 1)
        super().__init__(folder, split, pipeline, name=name or f"synth{variant}", **kwargs)


# ---------------------------------------------------------------------------------------------------- the cache


def ensure_rendered(
    data_root: str,
    spec: SyntheticSpec,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Return the folder of a rendered domain, rendering it first where it is missing, incomplete or outdated.

    Of several processes that ask at once one renders and the others wait.

    Args:
        data_root: Folder of the datasets.
        spec: What to render.
        workers: Processes; 1 renders in this one.
        progress: Called with the identities done and their number; by default lines are logged.

    Returns:
        ``<data_root>/synthetic/<folder_name>``.

    Raises:
        InputError: The folder cannot be written.
    """
    parent = os.path.join(data_root, "synthetic")
    folder = os.path.join(parent, spec.folder_name)
    if is_complete(folder, spec):
        return folder
    try:
        os.makedirs(parent, exist_ok=True)
        with _lock(os.path.join(parent, f".{spec.folder_name}.lock")) as alone:
            if is_complete(folder, spec):
                return folder
            if alone:
                _remove_partial(parent, spec)
            _render_and_install(
                parent, folder, spec, workers, progress or _LogProgress(spec, folder)
            )
    except OSError as error:
        raise InputError(
            f"the synthetic domain '{spec.variant}' cannot be rendered to '{folder}' ({error}), expected a folder "
            "that can be written and about 10 MB of space; set data_root"
        ) from error
    return folder


def is_complete(folder: str, spec: SyntheticSpec) -> bool:
    """Tell whether a folder holds the whole of a specification, rendered by this version.

    Args:
        folder: There or not.
        spec: What should be in it.

    Returns:
        False also where the folder's note cannot be read.
    """
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
        return manifest == _manifest(folder, spec)
    except (OSError, ValueError):
        return False


def _manifest(folder: str, spec: SyntheticSpec) -> dict:
    """Parameters, version, and number of images in every folder as they lie on the disk."""
    counts = {
        name: sum(entry.endswith(".jpg") for entry in os.listdir(os.path.join(folder, name)))
        for name in FOLDERS
    }
    return dict(version=RENDERER_VERSION, parameters=asdict(spec), images=counts)


@contextlib.contextmanager
def _lock(path: str) -> Iterator[bool]:
    """Hold a lock file; gives False where the system has no locks."""
    with open(path, "w", encoding="utf-8") as file:
        yield _acquire(file)


def _acquire(file: IO[str]) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # some network file systems
        return False
    return True


def _partial_prefix(spec: SyntheticSpec) -> str:
    return f".{spec.folder_name}.partial-"


def _remove_partial(parent: str, spec: SyntheticSpec) -> None:
    """Clear away what interrupted renderings left behind."""
    for name in os.listdir(parent):
        if name.startswith(_partial_prefix(spec)):
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


def _render_and_install(
    parent: str,
    folder: str,
    spec: SyntheticSpec,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Render to a hidden folder and rename it, so that the final name never stands for a part."""
    partial = tempfile.mkdtemp(prefix=_partial_prefix(spec), dir=parent)
    try:
        os.chmod(partial, 0o777 & ~_umask())
        for name in FOLDERS:
            os.mkdir(os.path.join(partial, name))
        _render_all(partial, spec, workers, progress)
        with open(os.path.join(partial, MANIFEST), "w", encoding="utf-8") as file:
            json.dump(_manifest(partial, spec), file, indent=1)
        if os.path.isdir(folder):
            outdated = os.path.join(partial, "outdated")
            os.replace(folder, outdated)
            shutil.rmtree(outdated)
        try:
            os.replace(partial, folder)
        except OSError:  # without locks another process may have been faster
            if not is_complete(folder, spec):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _umask() -> int:
    """The process's mask of file permissions; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


class _LogProgress:
    """Logs the start and every quarter of a rendering."""

    def __init__(self, spec: SyntheticSpec, folder: str) -> None:
        self.what = f"synthetic domain '{spec.variant}' in '{folder}'"
        self.start = time.monotonic()
        self.shown = -1

    def __call__(self, done: int, total: int) -> None:
        quarter = 4 * done // total
        if quarter > self.shown:
            self.shown = quarter
            seconds = time.monotonic() - self.start
            print_log(
                f"rendering {self.what}: {done} of {total} identities, {seconds:.0f} s",
                logger="current",
                level=logging.INFO,
            )


# ---------------------------------------------------------------------------------------------------- rendering


def _render_all(
    folder: str, spec: SyntheticSpec, workers: int, progress: Callable[[int, int], None]
) -> None:
    pids = range(1 + spec.num_train_ids + spec.num_test_ids)
    progress(0, len(pids))
    if workers <= 1:
        for done, pid in enumerate(pids):
            _render_pid(folder, spec, pid)
            progress(done + 1, len(pids))
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_render_pid, folder, spec, pid) for pid in pids]
        for done, job in enumerate(as_completed(jobs)):
            job.result()
            progress(done + 1, len(pids))


@lru_cache(maxsize=1)
def _renderer(variant: str, seed: int) -> DomainRenderer:
    return DomainRenderer(variant, seed)


def _render_pid(folder: str, spec: SyntheticSpec, pid: int) -> None:
    """Render all images of one identity; 0 stands for distractors and junk."""
    renderer = _renderer(spec.variant, spec.seed)
    if pid == 0:
        _render_clutter(folder, spec, renderer)
        return
    rng = renderer.rng("walks", pid)
    who = renderer.identity(pid)
    spread = spec.images_per_id // 3
    number = spec.images_per_id + int(rng.integers(-spread, spread + 1))
    total = len(renderer.cameras)
    cameras = rng.permutation(total)[: min(number - 1, int(rng.integers(min(3, total), total + 1)))]
    testing = pid > spec.num_train_ids
    queries = min(MAX_QUERIES_PER_ID, len(cameras), number - len(cameras)) if testing else 0
    # Every camera gets one image at least; queries come on top, so that all find their person in another camera.
    shares = 1 + np.bincount(
        rng.integers(len(cameras), size=number - len(cameras) - queries), minlength=len(cameras)
    )
    for position, (camera, share) in enumerate(zip(cameras.tolist(), shares.tolist())):
        sighting = renderer.sighting(camera, rng)
        first_frame = int(rng.integers(60_000))
        queried = position < queries
        for step in range(share + queried):
            if step and renderer.domain.walk and step % renderer.domain.walk == 0:
                sighting = renderer.sighting(camera, rng)
                first_frame += int(rng.integers(1_000, 20_000))
            split = (
                ("query" if step == 0 and queried else "bounding_box_test")
                if testing
                else "bounding_box_train"
            )
            name = f"{pid:04d}_c{camera + 1}s{1 + first_frame % 3}_{first_frame + 24 * step:06d}_01.jpg"
            image = renderer.render(who, sighting, step, renderer.rng("image", pid, camera, step))
            _write(os.path.join(folder, split, name), image, renderer.cameras[camera].quality)


def _render_clutter(folder: str, spec: SyntheticSpec, renderer: DomainRenderer) -> None:
    """Render distractors (background and strangers, identity 0) and junk (bad boxes of test people, identity -1)."""
    unseen = 1 + spec.num_train_ids + spec.num_test_ids
    for number in range(spec.num_distractors + spec.num_junk):
        rng = renderer.rng("clutter", number)
        camera = int(rng.integers(len(renderer.cameras)))
        junk = number >= spec.num_distractors
        who: Identity | None
        if junk:
            who = renderer.identity(1 + spec.num_train_ids + int(rng.integers(spec.num_test_ids)))
        else:
            who = renderer.identity(unseen + number) if rng.random() < 0.6 else None
        image = renderer.render(who, renderer.sighting(camera, rng), 0, rng, sloppy=True)
        name = f"{'-1' if junk else '0000'}_c{camera + 1}s1_{100 + 7 * number:06d}_00.jpg"
        _write(
            os.path.join(folder, "bounding_box_test", name), image, renderer.cameras[camera].quality
        )


def _write(path: str, image: np.ndarray, quality: int) -> None:
    encoded, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise OSError(f"OpenCV cannot encode '{path}'")
    content.tofile(path)
