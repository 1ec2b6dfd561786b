"""Features in a file instead of in memory: every rank writes the rows that it has made, and all map the same file."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import get_rank
from torch import Tensor

from .dist import on_every_rank, run_on_rank0
from .errors import InputError
from .files import said_to_be_unwritable
from .memory import machine_memory
from .parallel import local_ranks
from .vectors import check_vectors

__all__ = ["FeatureFile", "FeaturesIn", "Place", "feature_files", "place_of_features"]

FeaturesIn = Literal["auto", "memory", "disk"]
"""Where features are while they are clustered."""

Place = Callable[[int], Path | None]
"""Asked on rank 0 with the bytes of all features, it names the file that takes them; None: they stay in memory."""

# Takes no memory into account for pages of a private map that nobody writes to: the file may be larger than memory.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)

# Features that would take more of the memory go to the disk.
_SHARE_OF_MEMORY = 0.25
# Files of the folder by other names are somebody else's.
_OURS = "clustering-{}.npy"


@contextmanager
def feature_files(work_dir: str | Path) -> Iterator[None]:
    """Files of features last as long as this block, which all ranks enter and leave together.

    Args:
        work_dir: The run's.

    Yields:
        Nothing.
    """
    if get_rank() == 0:  # what a killed run has left takes room, and names
        _remove_ours(work_dir)
    try:
        yield
        # On some file systems of the network a map is lost with its file: it stays until all have done.
        on_every_rank(lambda: None)
    finally:
        if get_rank() == 0:
            _remove_ours(work_dir)


def place_of_features(work_dir: str | Path, where: FeaturesIn, device: torch.device) -> Place:
    """Decide by their size which file takes features.

    Args:
        work_dir: The run's, for ``features/clustering-0.npy`` and so on.
        where: ``'auto'`` takes a file where the copies of all ranks of this machine would take more than a quarter of
            its memory, or those on a GPU a quarter of the GPU's.
        device: That of the model.

    Returns:
        The decision for each extraction of a step.
    """

    def place(num_bytes: int) -> Path | None:
        memory = machine_memory() // local_ranks()
        if device.type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
        if where == "memory" or (where == "auto" and num_bytes <= memory * _SHARE_OF_MEMORY):
            return None
        return _folder(work_dir) / _OURS.format(len(_ours(work_dir)))

    return place


def _folder(work_dir: str | Path) -> Path:
    return Path(work_dir) / "features"


def _ours(work_dir: str | Path) -> list[Path]:
    return list(_folder(work_dir).glob(_OURS.format("*")))


def _remove_ours(work_dir: str | Path) -> None:
    """Remove files of features, and their folder unless it holds something else or is a link."""
    left = _ours(work_dir)
    for path in left:
        with suppress(OSError):
            path.unlink()
    if left:
        with suppress(OSError):
            _folder(work_dir).rmdir()


class FeatureFile:
    """Rows float32 (N, D) in a ``.npy`` file that all ranks fill together.

    Rows are written, not mapped, while others write beside them: on a file system of the network a map would write
    whole pages, with what it believes to be the rows of others.

    Args:
        path: The file; made by rank 0.
        shape: N and D, the same on every rank.
        otherwise: What is set where ranks share no file system, for the sentence.

    Raises:
        InputError: There is no room for it, or another rank cannot open it; raised on every rank.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        otherwise: str = "default_hooks.cluster.features='memory'",
    ) -> None:
        self.path, self.shape, self.otherwise = path, shape, otherwise
        self._file: Any = None
        self._error: InputError | None = None
        # A row of this rank, by which the others tell that they look at the same file.
        self._sign: tuple[int, bytes] | None = None
        run_on_rank0(self._create)
        on_every_rank(self._open)

    @classmethod
    def at(cls, place: Place | None, num_rows: int, width: int) -> FeatureFile | None:
        """The file that is asked for, if one is; all ranks call this together.

        Args:
            place: Names it.
            num_rows: N.
            width: D; that of rank 0 counts.

        Returns:
            The file, of (N, D); None where features stay in memory.

        Raises:
            InputError: As for the class.
        """
        if place is None:
            return None
        path, width = run_on_rank0(lambda: (place(4 * num_rows * width), width))
        return None if path is None else cls(path, (num_rows, width))

    def write(
        self, start: int | Sequence[int], rows: Tensor, names: Sequence[Any] | None = None
    ) -> None:
        """Put rows to their places. Those that are not finite are told of when all ranks have come to :meth:`mapped`.

        Args:
            start: Index of the first; or of each, where they do not follow each other.
            rows: float32 (rows, D), at least one, on any device.
            names: Of the rows, such as paths, for the sentence about them.

        Raises:
            InputError: The file cannot be written.
        """
        array = np.ascontiguousarray(rows.cpu().numpy())
        try:
            check_vectors(array, "features", names=names, zeros=True)
        except InputError as error:
            self._error = self._error or error
        with said_to_be_unwritable(self.path):
            for first, block in [(start, array)] if isinstance(start, int) else zip(start, array):
                self._file.seek(self._offset + 4 * self.shape[1] * first)
                left = block.data.cast("B")
                while left:
                    left = left[self._file.write(left) :]
        self._sign = first, block.reshape(-1, self.shape[1])[0].tobytes()

    def mapped(self) -> Tensor:
        """The rows of all ranks, when each has written its own; all ranks call this together.

        Returns:
            float32 (N, D) on the CPU, the file itself: it takes no memory but what the system has to spare. Whoever
            changes it changes it for himself alone, and not in the file.

        Raises:
            InputError: A row is not finite, or a rank does not see the rows of another; raised on every rank.
        """
        signs = on_every_rank(self._close)
        rows: list[Tensor] = []
        on_every_rank(lambda: rows.append(self._map(signs)))
        return rows[0]

    def _create(self) -> None:
        with said_to_be_unwritable(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._gone_if_incomplete(), self.path.open("wb") as file:
                header = dict(descr="<f4", fortran_order=False, shape=self.shape)
                np.lib.format.write_array_header_1_0(file, header)
                # Now, and not in the middle of the work, it turns out whether there is room.
                size = file.tell() + 4 * self.shape[0] * self.shape[1]
                if hasattr(os, "posix_fallocate"):  # not on every system
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)

    @contextmanager
    def _gone_if_incomplete(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.path.unlink(missing_ok=True)
            raise

    def _open(self) -> None:
        try:
            # A buffer would write what it has read of the rows of others.
            self._file = self.path.open("r+b", buffering=0)
            np.lib.format.read_magic(self._file)
            shape = np.lib.format.read_array_header_1_0(self._file)[0]
            if shape != self.shape:  # left on the disk of another machine
                raise ValueError(f"it is of shape {shape}")
        except (OSError, ValueError) as error:
            raise self._unseen(f"cannot open {str(self.path)!r} of rank 0 ({error})") from error
        self._offset = self._file.tell()

    def _close(self) -> tuple[int, bytes] | None:
        with said_to_be_unwritable(self.path):
            # What is closed is seen on other machines when it is opened next.
            self._file.close()
        if self._error is not None:
            raise self._error
        return self._sign

    def _map(self, signs: Sequence[tuple[int, bytes] | None]) -> Tensor:
        with self.path.open("rb") as file:
            private = mmap.mmap(
                file.fileno(),
                0,
                flags=mmap.MAP_PRIVATE | _NO_RESERVE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
        rows = np.frombuffer(private, np.float32, offset=self._offset).reshape(self.shape)
        for rank, sign in enumerate(signs):
            if sign is not None and rows[sign[0]].tobytes() != sign[1]:
                raise self._unseen(
                    f"does not see the features of rank {rank} in {str(self.path)!r}"
                )
        return torch.from_numpy(rows)

    def _unseen(self, what: str) -> InputError:
        return InputError(
            f"found that rank {get_rank()} {what}, expected one file system for all processes: set work_dir to a "
            f"folder that all machines share, or {self.otherwise}."
        )
