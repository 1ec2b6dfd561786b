"""What drives training: the Runner, hooks, the extraction path, optimiser wrappers."""

from . import hooks
from .extraction import extract_features, unwrap, with_pipeline
from .optim import AmpOptimWrapper
from .resume import checkpoint_to_resume, finished_note, read_resumable
from .runner import ReIDRunner
from .start import build_runner, nothing_to_train
from .vis_backend import LocalVisBackend
from .weights import COUNTERS, load_tested, tested_state

__all__ = [
    "COUNTERS",
    "AmpOptimWrapper",
    "LocalVisBackend",
    "ReIDRunner",
    "build_runner",
    "checkpoint_to_resume",
    "extract_features",
    "finished_note",
    "hooks",
    "load_tested",
    "nothing_to_train",
    "read_resumable",
    "tested_state",
    "unwrap",
    "with_pipeline",
]
