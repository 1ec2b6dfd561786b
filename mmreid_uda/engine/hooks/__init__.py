"""Hooks: what happens around the iterations."""

from .checkpoint_hook import CheckpointHook
from .cluster_hook import ClusterHook
from .consistency_hook import ConsistencyHook
from .diversity_hook import DiversityHook
from .ema_hook import EMAHook
from .epoch_seed_hook import EpochSeedHook
from .every_teacher_hook import EveryTeacherHook
from .finite_hook import FiniteHook
from .latent_state_hook import LatentStateHook
from .optimizer_reset_hook import OptimizerResetHook
from .progressive_hook import ProgressiveLambdaHook
from .report_hook import ReportHook
from .soft_labels_hook import SoftLabelsHook
from .source_classes_hook import SourceClassesHook
from .visualization_hook import VisualizationHook

__all__ = [
    "CheckpointHook",
    "ClusterHook",
    "ConsistencyHook",
    "DiversityHook",
    "EMAHook",
    "EpochSeedHook",
    "EveryTeacherHook",
    "FiniteHook",
    "LatentStateHook",
    "OptimizerResetHook",
    "ProgressiveLambdaHook",
    "ReportHook",
    "SoftLabelsHook",
    "SourceClassesHook",
    "VisualizationHook",
]
