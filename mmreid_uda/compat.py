"""The only module that bends what lies underneath: version checks, package look-up, configs, torchvision on CPU.

:func:`install` runs when a config is loaded, anything is built from a registry, a Runner or a loading process starts:
importing the package changes nothing elsewhere. Each part names the breakage that it mends (mmengine 0.10.7, torch
2.13), and disappears when the breakage does.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mmengine
import mmengine.config.config
import mmengine.hub.hub
import mmengine.utils.package_utils
import torch
from mmengine.utils import digit_version

from mmreid_uda.checkpoint import register_loaders
from mmreid_uda.utils import InputError

__all__ = [
    "check_versions",
    "get_installed_path",
    "install",
    "is_installed",
    "shim_torchvision",
    "start_worker",
]

MMENGINE_RANGE = ("0.10.7", "1.0.0")
"""First version of mmengine that is supported, and first that is not."""

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
    quiet()
    format_configs_once()
    _installed = True


def start_worker(worker_id: int, prepare: Callable[[int], Any] | None = None) -> None:
    """Begin a loading process, which inherits nothing where processes are spawned: a loader's ``worker_init_fn``.

    Args:
        worker_id: Number of the process, from 0.
        prepare: What the loader does beside.
    """
    install()
    if prepare is not None:
        prepare(worker_id)


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


def quiet() -> None:
    """Keep warnings away that tell a user nothing to do: torch's advice about the number of loading processes.

    Every loader would repeat it for a number that somebody has chosen; the log says the number, and that of the cores.
    """
    warnings.filterwarnings("ignore", message="This DataLoader will create")


# ------------------------------------------------------------------------------------------------- package look-up


def is_installed(package: str) -> bool:
    """Tell whether a distribution or an importable module of this name is installed.

    Args:
        package: Name of a distribution (``mmcv-lite``) or of a module (``mmcv``).

    Returns:
        True if there is one.
    """
    if _distribution(package) is not None:
        return True
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def get_installed_path(package: str) -> str:
    """Folder of an installed package.

    Args:
        package: Name of its distribution (``mmcv-lite``) or of its module (``mmcv``).

    Returns:
        Path of the folder of the module.

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
