"""DukeMTMC-reID."""

from mmreid_uda.registry import DATASETS

from .market1501 import MarketStyleDataset

__all__ = ["DukeMTMCreID"]


@DATASETS.register_module()
class DukeMTMCreID(MarketStyleDataset):
    """DukeMTMC-reID (Ristani et al., ECCV workshops 2016; Zheng et al., ICCV 2017): 8 cameras.

    Train 702 ids / 16,522 images, query 702 / 2,228, gallery 1,110 (408 of them distractors) / 17,661.

    Names such as ``0001_c2_f0046182.jpg`` tell the frame, at 60 frames per second, counted from the start of each
    camera's recording; the starts are those of the release's development kit.

    Withdrawn by its authors in 2019 because the people filmed had not consented; this project neither offers nor
    links to a copy, and reads one you may still lawfully hold. Args: see :class:`ReIDDataset`.
    """

    name = "dukemtmc"
    folder_names = ("dukemtmc", "dukemtmc-reid", "duke")
    pattern = r"(?P<pid>-?\d+)_c(?P<camid>\d+)(_f(?P<frame>\d+))?"
    cameras = range(1, 9)
    frame_rate = 59.94
    first_frames = dict(enumerate((5542, 3606, 27243, 31181, 0, 22401, 18967, 46765), 1))
