"""What a teacher leaves behind for its student: a distribution over the classes for every training image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.files import open_arrays, write_arrays

__all__ = ["SoftLabels"]


@dataclass
class SoftLabels:
    """Soft labels of a training set, in the order of its images.

    Args:
        labels: int64 (N,), the labels that were given.
        probabilities: float32 (N, K), the softmax of the teacher; rows sum to one.
        confident: bool (N,), the images whose given label the teacher trusts; at least one of each class.
        fingerprint: Of the training set, which tells images of equal labels apart.
    """

    labels: Tensor
    probabilities: Tensor
    confident: Tensor
    fingerprint: str

    #: Name of the file in the folder of a teacher's run.
    FILE: ClassVar[str] = "soft_labels.npz"

    def save(self, path: str | Path) -> None:
        """Write a file; probabilities are stored in half precision.

        Args:
            path: The ``.npz`` file.
        """
        arrays = dict(
            labels=self.labels.cpu().numpy(),
            probabilities=self.probabilities.cpu().numpy().astype(np.float16),
            confident=self.confident.cpu().numpy(),
            fingerprint=np.array(self.fingerprint),
        )
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> SoftLabels:
        """Read a file, or the one in the folder of a run.

        Args:
            path: The file, or the folder of a run; ``~`` is expanded.

        Returns:
            The labels.

        Raises:
            InputError: There is none, or the file is broken.
        """
        path = Path(path).expanduser()
        file = path / cls.FILE if path.is_dir() else path
        if not file.is_file():
            raise InputError(
                f"found no soft labels at '{path}', expected a {cls.FILE} or the folder of a teacher's finished run; "
                "train one with tools/train.py and a fat-teacher config, or correct model.head.soft_labels."
            )
        again = "train the teacher again"
        with open_arrays(
            file, "holds no soft labels", f"expected a whole {cls.FILE}: {again}"
        ) as saved:
            labels, confident = (torch.from_numpy(saved[name]) for name in ("labels", "confident"))
            fingerprint = str(saved["fingerprint"])
            rows = check_vectors(saved["probabilities"], f"soft labels of '{file}'", again)
        if not len(labels) == len(confident) == len(rows):
            raise InputError(
                f"found {len(labels)} labels, {len(confident)} choices and {len(rows)} distributions in '{file}', "
                f"expected one of each for every image: {again}."
            )
        probabilities = torch.from_numpy(rows)
        return cls(
            labels, probabilities / probabilities.sum(1, keepdim=True), confident, fingerprint
        )

    def check(self, labels: Tensor, source: str | Path, fingerprint: str | None = None) -> None:
        """Make sure that they belong to a training set.

        Args:
            labels: int64 (N,), the labels that the dataset gives.
            source: Where they were read from, for the message.
            fingerprint: The dataset's; None compares the labels alone.

        Raises:
            InputError: If they were made for other images or other labels.
        """
        if len(labels) != len(self.labels):
            reason = f"they are for {len(self.labels)}"
        elif not torch.equal(labels.cpu(), self.labels):
            reason = f"{int((labels.cpu() != self.labels).sum())} of the labels differ"
        elif fingerprint not in (None, self.fingerprint):
            reason = "labels are equal, but paths, identities or cameras differ"
        else:
            return
        raise InputError(
            f"the soft labels of '{source}' were not made for the {len(labels)} images of the target ({reason}): train "
            "the teacher again on the student's `target` (with the same noise), or correct model.head.soft_labels."
        )
