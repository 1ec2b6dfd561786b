"""Hooks: what happens around the iterations."""

from .cluster_hook import ClusterHook
from .consistency_hook import ConsistencyHook
from .epoch_seed_hook import EpochSeedHook
from .progressive_hook import ProgressiveLambdaHook
from .report_hook import ReportHook

__all__ = ["ClusterHook", "ConsistencyHook", "EpochSeedHook", "ProgressiveLambdaHook", "ReportHook"]
