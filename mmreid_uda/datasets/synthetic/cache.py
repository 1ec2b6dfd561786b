"""The cache of rendered sets on disk: in Market-1501's three folders, whole or not there."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, fields
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
from mmengine.logging import print_log

from mmreid_uda.utils import InputError
from mmreid_uda.utils.run_lock import alone

__all__ = [
    "RENDERER_VERSION",
    "Rendering",
    "ensure_rendered",
    "is_complete",
    "write_jpeg",
]

RENDERER_VERSION = 2
"""Raised whenever the same parameters give other images; caches of another version are rendered again."""

MANIFEST = "manifest.json"
FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


class Rendering(Protocol):
    """What is rendered: a frozen dataclass of all parameters. Its jobs may be done in any order, by any process."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    unit: ClassVar[str]
    """What the jobs are, for the log."""

    @property
    def folder_name(self) -> str:
        """Name of the folder, another one for other parameters."""

    def jobs(self) -> Sequence[Any]:
        """Parts of the work.

        Returns:
            Arguments for :meth:`render`, of a kind that can be sent to a process.
        """

    def render(self, folder: str, job: Any) -> None:
        """Do one of them.

        Args:
            folder: Where the three folders lie that images are written to.
            job: Of :meth:`jobs`.
        """


def ensure_rendered(
    data_root: str,
    spec: Rendering,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Return the folder of a rendered set, rendering it first where it is missing, incomplete or outdated.

    Of several processes that ask at once one renders and the others wait.

    Args:
        data_root: Folder of the datasets.
        spec: What to render.
        workers: Processes; 1 renders in this one.
        progress: Called with the jobs done and their number; by default lines are logged.

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
        # Without locks several processes may render at once; the first to finish wins.
        with alone(folder) as locked:
            if is_complete(folder, spec):
                return folder
            if locked:
                _remove_partial(parent, spec)
            _render_and_install(
                parent, folder, spec, workers, progress or _LogProgress(spec, folder)
            )
    except OSError as error:
        raise InputError(
            f"the synthetic set '{spec.folder_name}' cannot be rendered to '{folder}' ({error}), expected a folder "
            "that can be written, and space for its images; set data_root"
        ) from error
    return folder


def is_complete(folder: str, spec: Rendering) -> bool:
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


def _manifest(folder: str, spec: Rendering) -> dict:
    """Parameters, version, and number of images in every folder as they lie on the disk."""
    counts = {
        name: sum(entry.endswith(".jpg") for entry in os.listdir(os.path.join(folder, name)))
        for name in FOLDERS
    }
    values = asdict(spec)
    # What is not given is left out, so that sets from before there was such a parameter stay valid.
    parameters = {
        part.name: values[part.name]
        for part in fields(spec)
        if part.compare and values[part.name] not in (None, "")
    }
    return dict(version=RENDERER_VERSION, parameters=parameters, images=counts)


def _partial_prefix(spec: Rendering) -> str:
    return f".{spec.folder_name}.partial-"


def _remove_partial(parent: str, spec: Rendering) -> None:
    """Clear away what interrupted renderings left behind."""
    for name in os.listdir(parent):
        if name.startswith(_partial_prefix(spec)):
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


def _render_and_install(
    parent: str,
    folder: str,
    spec: Rendering,
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

    def __init__(self, spec: Rendering, folder: str) -> None:
        self.what = f"synthetic set '{spec.folder_name}' in '{folder}'"
        self.unit = spec.unit
        self.start = time.monotonic()
        self.shown = -1

    def __call__(self, done: int, total: int) -> None:
        quarter = 4 * done // total
        if quarter > self.shown:
            self.shown = quarter
            seconds = time.monotonic() - self.start
            print_log(
                f"rendering {self.what}: {done} of {total} {self.unit}, {seconds:.0f} s",
                logger="current",
                level=logging.INFO,
            )


def _render_all(
    folder: str, spec: Rendering, workers: int, progress: Callable[[int, int], None]
) -> None:
    jobs = spec.jobs()
    progress(0, len(jobs))
    if workers <= 1:
        for done, job in enumerate(jobs):
            spec.render(folder, job)
            progress(done + 1, len(jobs))
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(spec.render, folder, job) for job in jobs]
        for done, finished in enumerate(as_completed(running)):
            finished.result()
            progress(done + 1, len(jobs))


def write_jpeg(path: str, image: np.ndarray, quality: int) -> None:
    """Write a JPEG.

    Args:
        path: File.
        image: uint8 (H, W, 3), BGR.
        quality: Of the compression, 0..100.

    Raises:
        OSError: The file cannot be written.
    """
    encoded, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise OSError(f"OpenCV cannot encode '{path}'")
    content.tofile(path)
