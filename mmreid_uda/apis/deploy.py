"""A model as an ONNX graph from uint8 pixels to unit features, and a description of what comes before the graph."""

from __future__ import annotations

import copy
import hashlib
import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.utils import fuse_conv_bn
from torch import Tensor, nn

from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.layers import DomainBN
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.files import atomic_path, require_suffix, write_json
from mmreid_uda.utils.packages import import_package

from .model import model_fingerprint

__all__ = ["FeatureGraph", "describe_input", "export_onnx", "write_graph"]

# Flips, group-free convolutions and instance norms of all our networks are in it, and runtimes of 2022 read it.
_OPSET = 17
# What run_onnx.py repeats, by the library that resizes.
_INTERPOLATIONS = {
    "cv2": ("nearest", "bilinear", "bicubic", "area", "lanczos"),
    "pillow": ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming"),
}


class FeatureGraph(nn.Module):
    """What a deployment computes: pixels to the features that ``mode='predict'`` gives.

    Normalisation before the network and the unit norm behind it are float32 always.

    Args:
        model: In evaluation mode; copied.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: BaseReID) -> None:
        super().__init__()
        preprocessor = model.data_preprocessor
        self.bgr_to_rgb = preprocessor.bgr_to_rgb
        self.register_buffer("mean", preprocessor.mean.clone())
        self.register_buffer("std", preprocessor.std.clone())
        self.dtype = torch.float32
        self.model = copy.deepcopy(model).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels to features.

        Args:
            images: uint8 (B, H, W, 3), BGR unless the model expects otherwise.

        Returns:
            float32 (B, D), unit rows.
        """
        pixels = images.permute(0, 3, 1, 2).float()
        if self.bgr_to_rgb:
            pixels = pixels.flip(1)
        return self.features((pixels - self.mean) / self.std)

    def features(self, normalized: Tensor) -> Tensor:
        """Map what the network takes to features.

        Args:
            normalized: float32 (B, 3, H, W).

        Returns:
            float32 (B, D), unit rows.
        """
        return F.normalize(self.model.extract_feat(normalized.to(self.dtype)), dim=1)

    def halved(self, images: Tensor) -> FeatureGraph:
        """Copy the graph to float16, batch norms folded into convolutions before anything is rounded.

        A norm whose mean is many deviations from zero loses that many digits in float16. Folding goes by the order in
        which layers are defined; a network that runs them in another one, which these images tell, keeps its norms.

        Args:
            images: uint8 (B, H, W, 3).

        Returns:
            Another graph; this one stays as it is.
        """
        half = copy.deepcopy(self)
        for parent in list(half.model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, DomainBN):
                    setattr(parent, name, child.eval_norm)
        half.model = fuse_conv_bn(half.model)
        with torch.no_grad():
            if not torch.allclose(half(images), self(images), atol=1e-4):
                half.model = copy.deepcopy(self.model)
        half.dtype = torch.float16
        half.model.half()
        return half


def describe_input(pipeline: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say in plain values how a file becomes the graph's input.

    Args:
        pipeline: The config's ``test_pipeline``: ``LoadReIDImage``, ``Resize``, ``PackReIDInputs``.

    Returns:
        ``height``, ``width`` in pixels, ``interpolation``, such as ``bicubic``, and ``backend``, ``cv2`` or ``pillow``,
        which computes it.

    Raises:
        InputError: A step that a deployment with OpenCV and Pillow cannot repeat.
    """
    steps = {str(step["type"]): step for step in pipeline}
    if list(steps) != ["LoadReIDImage", "Resize", "PackReIDInputs"]:
        raise InputError(
            f"found the steps {', '.join(steps)} in test_pipeline, expected LoadReIDImage, Resize, PackReIDInputs, "
            "which a deployment repeats without this package: export with --cfg-options test_pipeline=... of these."
        )
    resize = steps["Resize"]
    interpolation = resize.get("interpolation", "bilinear")
    decoder = steps["LoadReIDImage"].get("imdecode_backend", "cv2")
    backend = resize.get("backend", "cv2")
    known = _INTERPOLATIONS.get(backend, ())
    if decoder != "cv2" or resize.get("keep_ratio") or interpolation not in known:
        raise InputError(
            f"found decoding by {decoder} and the resizing {dict(resize)} in test_pipeline, expected imdecode_backend "
            f"'cv2', no keep_ratio, backend 'cv2' with one of {', '.join(_INTERPOLATIONS['cv2'])}, or 'pillow' with "
            f"one of {', '.join(_INTERPOLATIONS['pillow'])}, which a deployment can repeat."
        )
    width, height = resize["scale"]
    return {"height": height, "width": width, "interpolation": interpolation, "backend": backend}


def export_onnx(model: Any, path: str | Path, fp16: bool = False) -> Path:
    """Write the ONNX graph of a model, and beside it a JSON file that says what ``run_onnx.py`` needs to know.

    The graph takes ``images``, uint8 (batch, H, W, 3), and gives ``features``, float32 (batch, D), unit rows; the batch
    is free. Colour order and normalisation are inside the graph; decoding and resizing are not, and are described.

    Args:
        model: A model of :func:`~mmreid_uda.apis.init_model`.
        path: Name that ends in ``.onnx``.
        fp16: Compute in float16: half the size, for accelerators. Defaults to False.

    Returns:
        Path of the JSON file.

    Raises:
        InputError: Another name, a test pipeline that a deployment cannot repeat, a layer that ONNX does not know, or
            the package onnx is missing.
    """
    path = Path(path)
    require_suffix(path, ".onnx")
    before = describe_input(model.cfg.test_pipeline)
    graph = FeatureGraph(model).cpu()
    # Two images: of a batch of one, the exporter would take the 1 for fixed.
    noise = make_rng(0, "export").integers(256, size=(2, before["height"], before["width"], 3))
    images = torch.from_numpy(noise.astype("uint8"))
    if fp16:
        graph = graph.halved(images)
    content = write_graph(graph, images, path, "features")
    description = _describe(model, graph, before, content)
    write_json(path.with_suffix(".json"), description)
    return path.with_suffix(".json")


def _describe(
    model: Any, graph: FeatureGraph, before: dict[str, Any], content: str
) -> dict[str, Any]:
    """What the JSON file says; ``content`` is the hash of the graph's file."""
    size = before["height"], before["width"]
    with torch.no_grad():
        features = model(torch.zeros(1, 3, *size, device=model.data_preprocessor.mean.device))
    return {
        "config": Path(model.cfg.filename).stem,
        "fingerprint": model_fingerprint(model, model.cfg),
        "onnx_sha256": content,
        "precision": "float32" if graph.dtype == torch.float32 else "float16",
        "input": {
            "name": "images",
            "layout": "NHWC",
            "dtype": "uint8",
            "colour": "BGR",  # what LoadReIDImage reads, whatever the network takes
            **before,
        },
        "inside_the_graph": {
            "colour": "RGB" if graph.bgr_to_rgb else "BGR",
            "mean": graph.mean.flatten().tolist(),
            "std": graph.std.flatten().tolist(),
        },
        "output": {"name": "features", "dim": features.shape[1], "norm": 1.0},
    }


def write_graph(graph: FeatureGraph, images: Tensor, path: Path, output: str) -> str:
    """Write a graph as an ONNX file whose input is called ``images``; the batch is free.

    By tracing: unlike the newer exporter that needs no further package, and nothing in our networks branches on data.

    Args:
        graph: What is computed.
        images: An example of its input, at least two images.
        path: The file.
        output: What its output is called.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: A layer that ONNX does not know, the package onnx is missing, or the file cannot be written.
    """
    from torch.onnx.errors import OnnxExporterError

    import_package("onnx", "the export", "'mmreid_uda[deploy]'")
    # Versions that know one exporter only do not take the choice.
    choice: dict[str, Any] = (
        {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    )
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is the older of the two
        # Sizes of images are held against the model's.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        try:
            torch.onnx.export(
                graph,
                (images,),
                str(temporary),
                input_names=["images"],
                output_names=[output],
                dynamic_axes={"images": {0: "batch"}, output: {0: "batch"}},
                opset_version=_OPSET,
                **choice,
            )
        except OnnxExporterError as error:
            reason = str(error).partition("\n")[0].partition(". Please")[0].rstrip(".")
            raise InputError(
                f"the network of {Path(graph.model.cfg.filename).stem} cannot be exported ({reason}); deploy it with "
                "ReIDInferencer, or choose layers that ONNX knows."
            ) from error
        return hashlib.sha256(temporary.read_bytes()).hexdigest()
