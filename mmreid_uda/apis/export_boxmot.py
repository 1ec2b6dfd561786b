"""A model for BoxMOT's trackers: an ONNX graph behind their preprocessing, and the description that they read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.utils import make_rng
from mmreid_uda.utils.files import require_suffix, write_json
from mmreid_uda.utils.packages import import_package

from .deploy import FeatureGraph, describe_input, write_graph
from .export_check import features_of
from .model import model_fingerprint

__all__ = ["BoxMOTGraph", "BoxMOTReader", "export_boxmot"]

# What BoxMOT subtracts and divides by, in R, G, B of 0..1, before it calls a graph.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class BoxMOTGraph(FeatureGraph):
    """What BoxMOT calls: crops in RGB, normalized by ImageNet's constants, to features.

    Where the model has other constants, an affine at the front undoes ImageNet's and applies the model's. It is not
    folded into the first convolution: that pads with zeros, which are gray before the affine and another gray after.

    Args:
        model: In evaluation mode; copied.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: BaseReID) -> None:
        super().__init__(model)
        mean, std = (255 * torch.tensor(one).view(1, 3, 1, 1) for one in (_MEAN, _STD))
        if not self.bgr_to_rgb:  # the network takes BGR
            mean, std = mean.flip(1), std.flip(1)
        self.register_buffer("scale", std / self.std)
        self.register_buffer("shift", (mean - self.mean) / self.std)
        self.converts = bool((self.scale - 1).abs().max() > 1e-6 or self.shift.abs().max() > 1e-5)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized crops to features.

        Args:
            images: float32 (B, 3, H, W) in RGB order: pixels / 255, less ImageNet's mean, over its deviation.

        Returns:
            float32 (B, D), unit rows.
        """
        if not self.bgr_to_rgb:
            images = images.flip(1)
        return self.features(images * self.scale + self.shift if self.converts else images)


def export_boxmot(model: Any, path: str | Path) -> Path:
    """Write a model as a re-ID model of BoxMOT, and beside it ``<name>.onnx.metadata.json``, which BoxMOT reads.

    Outside the graph BoxMOT crops, resizes bilinearly and normalizes; all else is inside. A model that was trained with
    another interpolation sees slightly other pixels there: :class:`BoxMOTReader` tells how much that matters.

    Args:
        model: A model of :func:`~mmreid_uda.apis.init_model`.
        path: Name that ends in ``.onnx``.

    Returns:
        Path of the description.

    Raises:
        InputError: As :func:`~mmreid_uda.apis.export_onnx`.
    """
    path = Path(path)
    require_suffix(path, ".onnx")
    before = describe_input(model.cfg.test_pipeline)
    size = before["height"], before["width"]
    graph = BoxMOTGraph(model).cpu()
    # Two images: of a batch of one, the exporter would take the 1 for fixed.
    noise = make_rng(0, "export").standard_normal((2, 3, *size), dtype=np.float32)
    content = write_graph(graph, torch.from_numpy(noise), path, "output0")
    description = path.with_name(f"{path.name}.metadata.json")
    name = Path(model.cfg.filename).stem
    write_json(
        description,
        {
            "model_name": name,
            "img_size": list(size),
            "model_kwargs": {"img_size": list(size)},  # of 25.0: else it warns of its default size
            "preprocess": "resize",
            "num_classes": 0,
            "fingerprint": model_fingerprint(model, model.cfg),
            "onnx_sha256": content,
        },
    )
    return description


class BoxMOTReader:
    """An exported graph with what BoxMOT does around it, as far as that is documented; BoxMOT itself is not needed.

    Crops are put into RGB, resized by OpenCV's bilinear kernel, divided by 255 and normalized by ImageNet's constants;
    features are brought to unit norm.

    Args:
        path: The ``.onnx`` file.
        threads: Threads of a forward pass; 0 leaves it to onnxruntime.

    Raises:
        InputError: onnxruntime is missing.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        runtime = import_package("onnxruntime", "the comparison", "'mmreid_uda[deploy]'")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.size = tuple(self.session.get_inputs()[0].shape[2:])

    def __call__(self, images: Sequence[str | np.ndarray], batch_size: int = 64) -> np.ndarray:
        """Compute features.

        Args:
            images: Files, or uint8 (H, W, 3) in BGR order, of any size.
            batch_size: Images a forward pass.

        Returns:
            float32 (N, D), unit rows.
        """
        run = self.session.run
        return features_of(
            images, self._prepared, lambda batch: run(None, {"images": batch})[0], batch_size
        )

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        """float32 (3, H, W)."""
        height, width = self.size
        pixels = cv2.resize(image[..., ::-1], (width, height), interpolation=cv2.INTER_LINEAR)
        mean, std = np.array(_MEAN, np.float32), np.array(_STD, np.float32)
        scaled = (pixels.astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))
