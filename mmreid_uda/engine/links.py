"""What people say while a training runs: its file of links, read again before each clustering."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from mmengine.runner import Runner

from mmreid_uda.datasets import ReIDDataset
from mmreid_uda.structures import Links
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import run_on_rank0

__all__ = ["LinksFile"]


class LinksFile:
    """A dataset's file of links, and as what it was read last.

    Attributes:
        digest: SHA-256 of the file whose links hold; None before the first reading. A checkpoint keeps it.
    """

    def __init__(self) -> None:
        self.digest: str | None = None
        self._read = False

    def refresh(self, target: ReIDDataset, runner: Runner) -> None:
        """Let the links hold that the file has now; all ranks call this together, and rank 0 reads.

        A file that cannot be read is warned of, and what was read before holds.

        Args:
            target: Whose evidence is changed.
            runner: For the log.
        """
        path = target.links_path
        if path is None:
            return

        def read() -> tuple[str, Links, np.ndarray] | str | None:
            try:
                digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                if self._read and digest == self.digest:
                    return None
                return digest, *target.read_links()
            except (InputError, OSError) as error:
                return str(error)

        found, when = run_on_rank0(read), f"Links before epoch {runner.epoch + 1}"
        if isinstance(found, str):
            runner.logger.warning(f"{when}: {found}. Those that were read before hold.")
        elif found is not None:
            before, self._read = self.digest, True
            self.digest, target.evidence.links, ignored = found
            target.evidence.ignored[:] = ignored
            new = ", which has changed" if before not in (None, self.digest) else ""
            runner.logger.info(
                f"{when}: {len(target.evidence.links)} links and {int(ignored.sum())} images that show no subject in "
                f"{path}{new} (SHA-256 {self.digest[:12]})"
            )
