"""PersonX."""

from mmreid_uda.registry import DATASETS

from .market1501 import MarketStyleDataset

__all__ = ["PersonX"]


@DATASETS.register_module()
class PersonX(MarketStyleDataset):
    """PersonX (Sun and Zheng, CVPR 2019) in the packaging of the unsupervised papers: rendered people, 6 cameras.

    Train 410 ids / 9,840 images, query 856 / 5,136, gallery 856 / 30,816. The file names use the cameras 3, 4, 8, 10,
    11 and 12, which become 0 to 5.

    Synthetic people; see its authors' licence. Args: see :class:`ReIDDataset`.
    """

    name = "personx"
    folder_names = ("personx", "PersonX_v1", "subset1")
    cameras = (3, 4, 8, 10, 11, 12)
