"""How a run starts: what it goes on from, and a Runner also where there is no GPU."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from mmreid_uda.checkpoint import find_checkpoint
from mmreid_uda.utils.dist import run_on_rank0

from .resume import checkpoint_to_resume, finished_note, read_resumable
from .runner import ReIDRunner

__all__ = ["build_runner", "nothing_to_train", "starting_files"]


class _TestRunner(ReIDRunner):
    """A Runner that leaves the config in the work dir alone, which is that of the training, and whole."""

    keeps_config = False

    def dump_config(self) -> None:
        """Write nothing; the log's folder has what is tested with."""


def nothing_to_train(cfg: Config) -> str | None:
    """Look at what a training starts from, before data are read and networks are built.

    Args:
        cfg: The config; with ``resume`` and no seed of its own it gets that of the checkpoint.

    Returns:
        A sentence if the run that is to be resumed is complete; None if there is something to train.

    Raises:
        InputError: A checkpoint to start or to go on from is missing, broken, or of another seed.
    """

    def look() -> tuple[str | None, int | None]:
        for name in starting_files(cfg):
            find_checkpoint(name)
        if not cfg.get("resume"):
            return None, None
        path = checkpoint_to_resume(cfg.work_dir, cfg.get("load_from"))
        if path is None:
            return None, None
        checkpoint = read_resumable(path, cfg.get("randomness", {}).get("seed"))
        return finished_note(cfg, path, checkpoint), checkpoint["meta"].get("seed")

    said, seed = run_on_rank0(look)
    if seed is not None:
        cfg.randomness = dict(cfg.get("randomness", {}), seed=seed)
    return said


def starting_files(cfg: Config) -> list[str]:
    """Files and folders that a training reads weights from; addresses are left for later.

    Args:
        cfg: The config.

    Returns:
        Paths, there or not.
    """
    return [name for name in _starts(cfg) if "://" not in name]


def _starts(cfg: Config) -> list[str]:
    """Files, folders and addresses of weights."""
    names = [] if cfg.get("resume") else [cfg.get("load_from")]
    nodes: list[Any] = [cfg.get("model")]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if node.get("type") == "Pretrained":
                names.append(node.get("checkpoint"))
            nodes += node.values()
        elif isinstance(node, (list, tuple)):
            nodes += node
    return [name for name in names if isinstance(name, str)]


def build_runner(cfg: Config, dump_config: bool = True) -> ReIDRunner:
    """Build the Runner of a config, see :meth:`ReIDRunner.from_cfg`.

    Args:
        cfg: The config.
        dump_config: Write it to the work dir, as training does. Defaults to True.

    Returns:
        A Runner that can train or test.

    Raises:
        InputError: The work dir cannot be written, another run is at work there, or mmengine or a plug-in refuses what
            the config says.
    """
    runner = (ReIDRunner if dump_config else _TestRunner).from_cfg(cfg)
    if cfg.get("train_cfg") and not cfg.get("resume") and not _starts(cfg):
        runner.logger.warning(
            "No weights are named in the config: the network starts at random, from which labels are mostly chance. "
            "Name a file in encoder.backbone.init_cfg, or a run in stage1."
        )
    return runner
