"""What drives training: the Runner, hooks, the extraction path, optimiser wrappers."""

from . import hooks
from .extraction import extract_features, unwrap, with_pipeline
from .optim import AmpOptimWrapper, LayerDecayOptimWrapperConstructor
from .resume import checkpoint_to_resume, finished_note, read_resumable
from .runner import ReIDRunner
from .start import build_runner, nothing_to_train, starting_files
from .vis_backend import LocalVisBackend

__all__ = [
    "AmpOptimWrapper",
    "LayerDecayOptimWrapperConstructor",
    "LocalVisBackend",
    "ReIDRunner",
    "build_runner",
    "checkpoint_to_resume",
    "extract_features",
    "finished_note",
    "hooks",
    "nothing_to_train",
    "read_resumable",
    "starting_files",
    "unwrap",
    "with_pipeline",
]
