"""VeRi-776 and VehicleX: vehicles in folders ``image_train``, ``image_query`` and ``image_test``."""

from mmreid_uda.registry import DATASETS

from .market1501 import MarketStyleDataset

__all__ = ["VeRi776", "VehicleX"]


@DATASETS.register_module()
class VeRi776(MarketStyleDataset):
    """VeRi-776 (Liu et al., ICME and ECCV 2016): vehicles seen by 20 cameras.

    Train 575 or 576 ids / 37,746 to 37,778 images (releases differ), query 200 / 1,678, gallery 200 / 11,579. The
    official image-to-image evaluation equals Market-1501's rule. Names such as ``0001_c001_00016450_0.jpg`` tell the
    frame, at 25 per second.

    By agreement with its authors, for research. Args: see :class:`ReIDDataset`.
    """

    name = "veri776"
    input_size = (224, 224)
    folder_names = ("veri", "veri776", "VeRi_with_plate")
    split_folders = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
    pattern = r"(?P<pid>-?\d+)_c(?P<camid>\d+)(_(?P<frame>\d{8}))?"
    pid_range = range(0, 777)
    cameras = range(1, 21)


@DATASETS.register_module()
class VehicleX(MarketStyleDataset):
    """VehicleX (Yao et al., ECCV 2020) as AI City 2020 packed it: rendered vehicles, training only.

    1,362 ids / 192,150 images, cameras 6 to 36. Synthetic; see its authors' licence. Args: see :class:`ReIDDataset`.
    """

    name = "vehiclex"
    input_size = (224, 224)
    folder_names = ("vehiclex", "AIC20_ReID_Simulation", "AIC20_ReID")
    split_folders = {"train": "image_train"}
    pid_range = range(1, 1363)
    cameras = range(6, 37)
