"""Datasets, samplers and transforms."""

from . import samplers, synthetic, transforms
from .base_reid import ReIDDataset
from .cache import CachedImages, ImageCache
from .catalog import (
    DATASET_CATALOG,
    build_dataset,
    dataset_config,
    input_size,
    offered_splits,
    register_dataset,
    short_name,
)
from .csv_reid import CSVReIDDataset
from .cuhk03 import CUHK03NP
from .digits import DigitsDataset
from .dukemtmc import DukeMTMCreID
from .folder_reid import FolderReIDDataset
from .market1501 import Market1501, MarketStyleDataset
from .msmt17 import MSMT17
from .noise import NOISE_KINDS, LabelNoise, precision_recall
from .occluded_duke import OccludedDuke
from .personx import PersonX
from .statistics import log_statistics, statistics_table
from .synthetic import SyntheticReID, SyntheticVideo
from .tracklets import MARS, DukeVideo
from .vehicleid import VehicleID
from .veri776 import VehicleX, VeRi776
from .wrappers import CrossDomainDataset, ReIDTestDataset, queries_with_match

__all__ = [
    "CUHK03NP",
    "DATASET_CATALOG",
    "MARS",
    "MSMT17",
    "NOISE_KINDS",
    "CSVReIDDataset",
    "CachedImages",
    "CrossDomainDataset",
    "DigitsDataset",
    "DukeMTMCreID",
    "DukeVideo",
    "FolderReIDDataset",
    "ImageCache",
    "LabelNoise",
    "Market1501",
    "MarketStyleDataset",
    "OccludedDuke",
    "PersonX",
    "ReIDDataset",
    "ReIDTestDataset",
    "SyntheticReID",
    "SyntheticVideo",
    "VeRi776",
    "VehicleID",
    "VehicleX",
    "build_dataset",
    "dataset_config",
    "input_size",
    "log_statistics",
    "offered_splits",
    "precision_recall",
    "queries_with_match",
    "register_dataset",
    "samplers",
    "short_name",
    "statistics_table",
    "synthetic",
    "transforms",
]
