"""Re-identification without target labels, on mmengine.

``import mmreid_uda`` alone loads nothing else and changes nothing in other packages: what is taken from here is loaded
when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .apis import Gallery, ReIDInferencer, init_model
    from .config import load_config
    from .engine import ReIDRunner, extract_features
    from .evaluation import evaluate_rank, rerank

__all__ = [
    "Gallery",
    "ReIDInferencer",
    "ReIDRunner",
    "__version__",
    "evaluate_rank",
    "extract_features",
    "init_model",
    "load_config",
    "rerank",
]

_HOMES = {
    "Gallery": "apis",
    "ReIDInferencer": "apis",
    "ReIDRunner": "engine",
    "evaluate_rank": "evaluation",
    "extract_features": "engine",
    "init_model": "apis",
    "load_config": "config",
    "rerank": "evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
