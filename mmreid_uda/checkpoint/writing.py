"""Checkpoints into files: whole or not at all."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import save_checkpoint

from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path

from .reading import non_finite

__all__ = ["write_checkpoint"]


def write_checkpoint(
    checkpoint: dict[str, Any],
    filename: str,
    file_client_args: Any = None,
    backend_args: Any = None,
) -> None:
    """Write a checkpoint: whole or not at all, and never one that a diverged training has spoilt.

    Stands in for mmengine's ``save_checkpoint``, which writes into the old file, copies all in memory twice, and takes
    what it is given. Places other than local files are left to it.

    Args:
        checkpoint: What is saved.
        filename: Path, or the address of another backend.
        file_client_args: Of mmengine, for other backends.
        backend_args: Of mmengine, for other backends.

    Raises:
        InputError: The checkpoint holds NaN or infinite values, or the file cannot be written; the old one stays.
    """
    if "://" in filename or file_client_args or backend_args:
        save_checkpoint(checkpoint, filename, file_client_args, backend_args)
        return
    path = Path(filename)
    if broken := non_finite(checkpoint):
        raise InputError(
            f"{len(broken)} tensors, {broken[0]} for one, hold NaN or infinite values, so that {path.name} was not "
            "written: training has diverged"
        )
    with atomic_path(path) as temporary:
        try:
            torch.save(checkpoint, temporary)
        except RuntimeError as error:
            # torch's writer does not say why; the file system does.
            if not re.search("iostream|inline_container|StreamWriter|cannot be opened", str(error)):
                raise
            written = temporary.stat().st_size if temporary.exists() else 0
            raise InputError(
                f"{path} cannot be written (the disk took {written / 2**20:.0f} MiB of it, "
                f"{shutil.disk_usage(path.parent).free / 2**20:.0f} MiB are free now)"
            ) from error
