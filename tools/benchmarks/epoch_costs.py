"""Where the seconds and bytes of an epoch go: parts of a Runner's work, each without those inside it."""

from __future__ import annotations

import argparse
import functools
import importlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from measuring import FORGET_PEAK, resident
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.utils.data.dataloader import _BaseDataLoaderIter

from mmreid_uda.clustering import JaccardDBSCAN
from mmreid_uda.config import load_config
from mmreid_uda.engine import ReIDRunner, build_runner, label_report, unwrap
from mmreid_uda.engine.hooks import cluster_hook
from mmreid_uda.utils import make_rng

__all__ = ["Meter", "draw_thumbnails", "measure", "report"]

IMAGES_PER_PERSON, CAMERAS, SIZE = 17, 6, (64, 32)
_TEST_PEOPLE = 64
NETWORK = ("network forward", "backward")
"""Parts that are the network's own work."""
# Parts of a smaller share are told together.
_SMALL = 0.001


class Meter:
    """Seconds, CPU-seconds, calls and peak memory of named parts, each without the parts inside it."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], list[float]] = {}
        self.peaks: dict[tuple[str, str], int] = {}
        self._stack: list[tuple[str, str]] = [("start", "everything else")]
        self._mark = self._now()
        self._peak_stack: list[list[int]] = []

    @property
    def phase(self) -> str:
        """The phase that work belongs to now."""
        return self._stack[-1][0]

    @contextmanager
    def part(self, name: str, phase: str | None = None, memory: bool = False) -> Iterator[None]:
        """Count what is inside as a part.

        Args:
            name: Of the part.
            phase: Of the epoch. Defaults to None: that of the part around.
            memory: Whether the peak of memory is wanted, which takes a millisecond.
        """
        self._charge()
        self._stack.append((phase or self.phase, name))
        self._calls(self._stack[-1])
        if memory:
            self._note_peak()
            self._peak_stack.append([resident("VmRSS"), 0])
            self._mark = self._now()
        try:
            yield
        finally:
            if memory:
                self._note_peak()
                before, peak = self._peak_stack.pop()
                key = self._stack[-1]
                self.peaks[key] = max(self.peaks.get(key, 0), peak - before)
                if self._peak_stack:
                    self._peak_stack[-1][1] = max(self._peak_stack[-1][1], peak)
            self._charge()
            self._stack.pop()

    def around(
        self,
        function: Callable[..., Any],
        name: str,
        phase: str | None = None,
        memory: bool = False,
    ) -> Callable[..., Any]:
        """The function, counted as a part.

        Args:
            function: Any.
            name: As for :meth:`part`.
            phase: As for :meth:`part`.
            memory: As for :meth:`part`.

        Returns:
            A function with the same arguments.
        """

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.part(name, phase, memory):
                return function(*args, **kwargs)

        return counted

    def close(self) -> None:
        """Count what has passed since the last part."""
        self._charge()

    def _note_peak(self) -> None:
        """Give the part around what memory has reached, and begin anew."""
        if not FORGET_PEAK.exists():
            return
        if self._peak_stack:
            self._peak_stack[-1][1] = max(self._peak_stack[-1][1], resident("VmHWM"))
        FORGET_PEAK.write_text("5")

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def _calls(self, key: tuple[str, str]) -> None:
        self.seconds.setdefault(key, [0.0, 0.0, 0])[2] += 1

    def _charge(self) -> None:
        now, total = self._now(), self.seconds.setdefault(self._stack[-1], [0.0, 0.0, 0])
        total[0] += now[0] - self._mark[0]
        total[1] += now[1] - self._mark[1]
        self._mark = now


def draw_thumbnails(folder: Path, images: int, seed: int = 0) -> Path:
    """Draw people as textures: training images, and a few others as query and gallery; nothing if they are there.

    Args:
        folder: Has a folder for each number of images.
        images: N, number of training images.
        seed: Of the textures.

    Returns:
        Folder of ``train``, ``query`` and ``gallery``.
    """
    folder = folder / str(images)
    done = folder / "done"
    if done.exists():
        return folder
    rng = make_rng(seed, "thumbnails")
    light = rng.uniform(0.6, 1.0, (CAMERAS, 1, 1, 3))
    people = -(-images // IMAGES_PER_PERSON)
    for person in range(people + min(people, _TEST_PEOPLE)):
        texture = cv2.resize(
            rng.integers(0, 256, (8, 4, 3)).astype(np.uint8),
            SIZE[::-1],
            interpolation=cv2.INTER_CUBIC,
        )
        for number in range(IMAGES_PER_PERSON):
            camera = int(rng.integers(CAMERAS))
            part = "train" if person < people else ("query" if number < 2 else "gallery")
            if part == "train" and person * IMAGES_PER_PERSON + number >= images:
                break
            shifted = np.roll(texture, rng.integers(-1, 2, 2), axis=(0, 1)) * light[camera]
            noisy = (shifted + rng.normal(0, 12, shifted.shape)).clip(0, 255).astype(np.uint8)
            own = folder / part / str(person)
            own.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(own / f"{person}_c{camera}_{number}.jpg"), noisy)
    done.touch()
    return folder


def _config(args: argparse.Namespace, folder: Path, work_dir: str) -> Any:
    dataset = dict(
        _delete_=True,
        type="FolderReIDDataset",
        data_root=str(folder),
        pattern=r"(?P<pid>\d+)_c(?P<camid>\d+)_",
        folders="none",
        split_folders=dict(train="train", query="query", gallery="gallery"),
    )
    options = {
        "target": dataset,
        "input_size": SIZE,
        "train_cfg.max_epochs": 1,
        "train_cfg.val_interval": 1,
        "clusterer.k1": 30,
        "clusterer.k2": 6,
        "train_dataloader.num_workers": args.num_workers,
        "val_dataloader.num_workers": args.num_workers,
        "relabel": dict(num_workers=args.num_workers),
        "default_hooks.report.evaluate_before": False,
        **(args.cfg_options or {}),
    }
    cfg = load_config(args.config, options)
    size = cfg.global_batch_size
    full = args.images // size
    cfg.train_dataloader.batch_sampler.iters_per_epoch = min(args.iters or full, full)
    cfg.work_dir = work_dir
    return cfg, full


@contextmanager
def _watched(meter: Meter) -> Iterator[None]:
    """Let a meter see the parts of all Runners made inside."""

    def call_hook(runner: Any, fn_name: str, **kwargs: Any) -> None:
        for hook in runner._hooks:
            if method := getattr(hook, fn_name, None):
                name, phase, memory = type(hook).__name__, None, not fn_name.endswith("_iter")
                if name == "ClusterHook" and fn_name == "before_train_epoch":
                    name, phase = "set labels", "labels"
                elif name in ("CheckpointHook", "ReportHook") and memory:
                    phase = "checkpoint and report"
                with meter.part(name, phase, memory):
                    method(runner, **kwargs)

    plain_next = _BaseDataLoaderIter.__next__

    def load(loader: Any) -> Any:
        with meter.part("load images", "iterations" if meter.phase == "epoch" else None):
            return plain_next(loader)

    around = meter.around
    plain_build = ReIDRunner.build_dataloader
    # The package exports a function of the module's name.
    dbscan_module = importlib.import_module("mmreid_uda.clustering.dbscan")
    with ExitStack() as stack:
        for owner, name, function in (
            (ReIDRunner, "call_hook", call_hook),
            (_BaseDataLoaderIter, "__next__", load),
            (
                ReIDRunner,
                "build_dataloader",
                staticmethod(around(plain_build, "list images", "start", True)),
            ),
            (
                EpochBasedTrainLoop,
                "run_epoch",
                around(EpochBasedTrainLoop.run_epoch, "everything else", "epoch"),
            ),
            (
                EpochBasedTrainLoop,
                "run_iter",
                around(EpochBasedTrainLoop.run_iter, "mmengine's loop", "iterations"),
            ),
            (ValLoop, "run", around(ValLoop.run, "evaluation and mmengine's loop", "test", True)),
            (OptimWrapper, "backward", around(OptimWrapper.backward, "backward")),
            (OptimWrapper, "step", around(OptimWrapper.step, "optimiser")),
            (OptimWrapper, "zero_grad", around(OptimWrapper.zero_grad, "optimiser")),
            (
                cluster_hook,
                "extract_features",
                around(cluster_hook.extract_features, "collect features", None, True),
            ),
            (
                label_report,
                "label_health",
                around(label_report.label_health, "health figures", None, True),
            ),
            (
                label_report,
                "cluster_quality",
                around(label_report.cluster_quality, "quality figures", None, True),
            ),
            (
                JaccardDBSCAN,
                "prepare",
                around(JaccardDBSCAN.prepare, "search neighbors", None, True),
            ),
            (JaccardDBSCAN, "cluster", around(JaccardDBSCAN.cluster, "Jaccard graph", None, True)),
            (dbscan_module, "dbscan", around(dbscan_module.dbscan, "DBSCAN", None, True)),
        ):
            stack.enter_context(mock.patch.object(owner, name, function))
        yield


def _watch_model(meter: Meter, model: Any) -> None:
    for owner, method, name in (
        (model, "loss", "losses"),
        (model, "on_relabel", "memory"),
        (model, "train_step", "train_step"),
        (model.encoder, "forward", "network forward"),
        (model.data_preprocessor, "forward", "normalise images"),
    ):
        setattr(owner, method, meter.around(getattr(owner, method), name))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Draw, train an epoch, and add up: a row for each part, in the order of the phases."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = draw_thumbnails(Path(args.folder or temporary), args.images)
        cfg, full = _config(args, folder, str(Path(temporary, "run")))
        run = cfg.train_dataloader.batch_sampler.iters_per_epoch
        meter = Meter()
        with _watched(meter):
            with meter.part("build the Runner", "start", True):
                runner = build_runner(cfg)
            _watch_model(meter, unwrap(runner.model))
            runner.train()
        meter.close()
    rows: list[dict[str, Any]] = []
    for (phase, part), (seconds, cpu, calls) in meter.seconds.items():
        factor = full / run if phase == "iterations" else 1.0
        peak = meter.peaks.get((phase, part))
        rows.append(
            dict(
                phase=phase,
                part=part,
                seconds=seconds * factor,
                cpu=cpu * factor,
                calls=calls,
                peak_bytes=peak,
            )
        )
    total = sum(row["cpu"] for row in rows)
    for row in rows:
        row["share"] = row["cpu"] / total
    return dict(
        images=args.images,
        iterations=dict(run=run, epoch=full),
        seconds=sum(row["seconds"] for row in rows),
        cpu_seconds=total,
        rows=rows,
    )


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out, the dearest part of each phase first."""
    run, full = metrics["iterations"]["run"], metrics["iterations"]["epoch"]
    lines = [f"{metrics['images']:,} images, {full:,} iterations"]
    if run < full:
        lines[0] += (
            f", of which {run:,} were run: parts of iterations are counted {full / run:.1f} times"
        )
    lines.append(
        f"{'phase':22}{'part':32}{'s':>9}{'CPU-s':>9}{'share':>8}{'calls':>8}{'peak MB':>9}"
    )
    phases = list(dict.fromkeys(row["phase"] for row in metrics["rows"]))
    rows = sorted(metrics["rows"], key=lambda row: (phases.index(row["phase"]), -row["cpu"]))
    shown = [row for row in rows if row["share"] >= _SMALL]
    for row in shown:
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}"
        mark = " <- above 5 %" if row["share"] > 0.05 and row["part"] not in NETWORK else ""
        lines.append(
            f"{row['phase']:22}{row['part']:32}{row['seconds']:9.2f}{row['cpu']:9.2f}{row['share']:8.1%}"
            f"{row['calls']:8}{peak:>9}{mark}"
        )
    rest = sum(row["share"] for row in rows) - sum(row["share"] for row in shown)
    lines.append(f"{len(rows) - len(shown)} parts below {_SMALL:.1%}, together {rest:.1%}")
    network = sum(row["share"] for row in rows if row["part"] in NETWORK)
    lines.append(
        f"together {metrics['seconds']:.1f} s, {metrics['cpu_seconds']:.1f} CPU-s; "
        f"the network's passes are {network:.1%}"
    )
    return "\n".join(lines)
