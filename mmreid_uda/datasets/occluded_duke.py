"""Occluded-DukeMTMC."""

from mmreid_uda.registry import DATASETS

from .dukemtmc import DukeMTMCreID

__all__ = ["OccludedDuke"]


@DATASETS.register_module()
class OccludedDuke(DukeMTMCreID):
    """Occluded-DukeMTMC (Miao et al., ICCV 2019): DukeMTMC-reID split anew so that every query is occluded.

    Train 702 ids / 15,618 images, query 519 / 2,210, gallery 1,110 / 17,661. Its authors' script makes the three
    folders from a copy of DukeMTMC-reID.

    DukeMTMC-reID was withdrawn by its authors in 2019; this project neither offers nor links to a copy.
    Args: see :class:`ReIDDataset`.
    """

    name = "occluded_duke"
    folder_names = ("occluded_duke", "occluded-dukemtmc", "occluded-dukemtmc-reid")
