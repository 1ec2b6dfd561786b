"""What runs leave: config, pseudo-labels, checkpoints to go on from; and the command that makes a missing one."""

from __future__ import annotations

import re
from pathlib import Path

from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import PRETRAINED_FILES, is_pretrained

__all__ = [
    "epoch_checkpoints",
    "find_checkpoint",
    "find_labels",
    "noted_checkpoint",
    "run_config",
    "training_arguments",
]


def find_checkpoint(name: str | Path) -> Path:
    """Find a checkpoint by its path, or the last one of a run by the run's folder.

    Args:
        name: A file, a folder with the note ``last_checkpoint``, or one of ``mmreid export --to pretrained``; ``~`` is
            expanded.

    Returns:
        The file.

    Raises:
        InputError: There is none. If others lie in the folder, the sentence names the newest; if the folder is named
            like a config (and ``-seed<n>``), it has the command that trains it.
    """
    path = Path(name).expanduser()
    try:
        if path.is_file():
            return path
        if is_pretrained(path):
            return path / PRETRAINED_FILES[1]
        noted = noted_checkpoint(path)
    except (
        OSError,
        ValueError,
    ) as error:  # a name too long, a zero byte, a folder of somebody else's
        raise InputError(
            f"Checkpoint {str(name)[:200]!r} cannot be read ({getattr(error, 'strerror', None) or error}): correct "
            "the path."
        ) from error
    if noted is not None and noted.is_file():
        return noted
    if others := epoch_checkpoints(path):
        found = (
            "no note last_checkpoint" if noted is None else f"a note of {noted.name}, which is gone"
        )
        raise InputError(
            f"Checkpoint of the run {name}: found {found}, expected the last checkpoint of the run; name {others[0]}, "
            "the newest there, instead of the folder."
        )
    raise InputError(
        f"Checkpoint {name} does not exist, expected a file of weights or the folder of a finished run: {_hint(path)}."
    )


def noted_checkpoint(run: Path) -> Path | None:
    """The checkpoint that a run's note ``last_checkpoint`` names.

    The note has the file's name; that of mmengine has its path at the time of training. Either way the file beside the
    note is the one: the folder may have been moved, or copied, since.

    Args:
        run: Folder of a run.

    Returns:
        Path of a file that is there or not; None without a note, or with an empty one.
    """
    note = run / "last_checkpoint"
    if not note.is_file():
        return None
    text = note.read_text(encoding="utf-8", errors="replace").strip()
    if not text:
        return None
    beside, elsewhere = run / Path(text).name, run / text
    return elsewhere if elsewhere.is_file() and not beside.is_file() else beside


def run_config(run: str | Path) -> Path:
    """The config that a run has left in its folder, with all options that it was started with.

    Args:
        run: Folder of a run.

    Returns:
        The newest ``.py`` file in it.

    Raises:
        InputError: There is none.
    """
    configs = sorted(Path(run).expanduser().glob("*.py"))
    if not configs:
        raise InputError(
            f"found 0 config files in {str(run)!r}, expected the one of a run: give the folder of a run of "
            "tools/train.py."
        )
    return max(configs, key=lambda path: path.stat().st_mtime)


def find_labels(path: str | Path) -> Path:
    """The file of pseudo-labels that a path names.

    Args:
        path: The file itself, or the folder of a run, of which the last one counts.

    Returns:
        The file.

    Raises:
        InputError: There is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    for folder in (path / "pseudo_labels", path):
        if found := sorted(folder.glob("epoch_*.npz")):
            return found[-1]
    raise InputError(
        f"found no pseudo-labels in '{path}', expected WORK_DIR/pseudo_labels/epoch_<n>.npz, or the folder of a run "
        "with a ClusterHook."
    )


def epoch_checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run that it can go on from.

    Args:
        run: Folder of a run, there or not.

    Returns:
        Paths of ``epoch_<n>.pth`` and ``iter_<n>.pth``, by descending number.
    """
    numbered = []
    for path in run.glob("*.pth"):
        if found := re.fullmatch(r"(?:epoch|iter)_(\d+)", path.stem):
            numbered.append((int(found[1]), path))
    return [path for _, path in sorted(numbered, reverse=True)]


def training_arguments(run: str | Path) -> list[str] | None:
    """What ``tools/train.py`` must be given to make a run whose folder is named like a config, or ``-seed<n>`` more.

    Args:
        run: Folder of a run, there or not, or a checkpoint in it.

    Returns:
        Name of the config and flags, or None if there is none of that name.
    """
    from mmreid_uda.config.index import named_model  # which stands above this module

    path = Path(run)
    folder = path.parent if path.suffix else path
    config, _, seed = folder.name.partition("-seed")
    if not config or named_model(config) is None:
        return None
    arguments = [config]
    if seed:
        arguments += ["--seed", seed]
    if folder != Path("work_dirs", config):
        arguments += ["--work-dir", str(folder)]
    return arguments


def _hint(path: Path) -> str:
    """How to get a missing checkpoint: the command that trains it, if its folder is named like a config."""
    arguments = training_arguments(path)
    if arguments is None:
        return (
            "correct the path in load_from, stage1, init_cfg.checkpoint or on the command line (docs/weights.md says "
            "where released weights come from)"
        )
    command = " ".join(["python tools/train.py", *arguments])
    return f"make it with `{command}`, or name another one in stage1 or load_from"
