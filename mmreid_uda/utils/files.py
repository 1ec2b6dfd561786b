"""Files that are either whole or not there, and the checkpoints of runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError

__all__ = ["atomic_path", "find_checkpoint", "training_arguments"]


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and rename it when the block succeeds.

    A run that is interrupted leaves the old file, or none, never half of one. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def find_checkpoint(name: str | Path) -> Path:
    """Find a checkpoint by its path, or the last one of a run by the run's folder.

    Args:
        name: A file, or a folder with mmengine's note ``last_checkpoint``; ``~`` is expanded.

    Returns:
        The file.

    Raises:
        InputError: There is none; if the folder is named like a config (and ``-seed<n>``), the sentence has the command
            that trains it.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    note = path / "last_checkpoint"
    if note.is_file():
        # The note holds the path of the time of training: the folder may have moved since.
        last = path / Path(note.read_text().strip()).name
        if last.is_file():
            return last
    raise InputError(
        f"Checkpoint {name} does not exist, expected a .pth file or the folder of a finished run: {_remedy(path)}."
    )


def training_arguments(run: str | Path) -> list[str] | None:
    """What ``tools/train.py`` must be given to make a run whose folder is named like a config, or ``-seed<n>`` more.

    Args:
        run: Folder of a run, there or not, or a checkpoint in it.

    Returns:
        Config and flags, or None if no config of this repository has that name.
    """
    path = Path(run)
    folder = path.parent if path.suffix else path
    config, _, seed = folder.name.partition("-seed")
    found = sorted(Path().glob(f"configs/*/{config}.py")) if config else []
    if not found:
        return None
    arguments = [str(found[0])]
    if seed:
        arguments += ["--seed", seed]
    if folder != Path("work_dirs", config):
        arguments += ["--work-dir", str(folder)]
    return arguments


def _remedy(path: Path) -> str:
    """How to get a missing checkpoint: the command that trains it, if its folder is named like a config."""
    arguments = training_arguments(path)
    if arguments is None:
        return "correct the path in load_from, stage1, init_cfg.checkpoint or on the command line"
    command = " ".join(["python tools/train.py", *arguments])
    return f"make it with `{command}`, or name another one in stage1 or load_from"
