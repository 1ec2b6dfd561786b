"""Features, comparison and search for those who deploy a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import Compose
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import Dataset

from mmreid_uda.clustering import IndexKind
from mmreid_uda.datasets.files import IMAGE_EXTENSIONS, walk_images
from mmreid_uda.engine import extract_features
from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils import InputError

from .gallery import Gallery, Match
from .model import init_model, model_fingerprint

__all__ = ["ImageInput", "ReIDInferencer", "list_inputs"]

ImageInput = str | Path | np.ndarray
"""An image file, a folder of images, or pixels: uint8 (H, W, 3) in BGR order, as OpenCV reads them."""


class ReIDInferencer:
    """A trained model with the test pipeline of its config: images in, features out.

    Features are those of ``tools/test.py``, since both go through
    :func:`~mmreid_uda.engine.extract_features`. This is why mmengine's ``BaseInferencer``, which runs a loop of its own
    over batches, is not the base.

    Attributes:
        model: The algorithm, in evaluation mode.
        cfg: Its config.
        fingerprint: Hash of weights and preprocessing; galleries and feature files carry it.
        gallery: What :meth:`search` searches; None until :meth:`build_gallery` or :meth:`load_gallery`.

    Args:
        config: Path or name of a config, such as ``'ise_r50_market'``.
        checkpoint: File, folder of a run, or URL; None takes the config's initial weights.
        device: Such as ``'cpu'`` or ``'cuda:0'``; None takes a GPU if there is one.
        options: Dotted keys -> values merged into the config.
        batch_size: Images per forward pass. Defaults to 64.
        num_workers: Loading processes. Defaults to 0: images are loaded in this one.
        show_progress: Whether a bar on a terminal's stderr tells how far a call of several batches has come. Defaults
            to True.

    Raises:
        InputError: For a config, checkpoint or device that is missing or does not fit.

    Example:
        >>> inferencer = ReIDInferencer('ise_r50_market', 'work_dirs/ise_r50_market')
        >>> inferencer.compare('a.jpg', 'b.jpg')
        >>> inferencer.build_gallery('crops/').save('gallery.npz')
        >>> inferencer.search('query.jpg', topk=5)
    """

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path | None = None,
        device: str | torch.device | None = None,
        *,
        options: dict[str, Any] | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        show_progress: bool = True,
    ) -> None:
        self.model: Any = init_model(config, checkpoint, device, options)
        self.cfg = self.model.cfg
        self.fingerprint = model_fingerprint(self.model, self.cfg)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.show_progress = show_progress
        self.gallery: Gallery | None = None

    def __call__(self, inputs: ImageInput | Sequence[ImageInput]) -> np.ndarray:
        """Compute features.

        Args:
            inputs: An image (a file or an array), a folder, or a list of these; folders are searched with all their
                sub-folders, in the order of the names.

        Returns:
            float32 (N, D), rows of unit norm, in the order of :func:`list_inputs`.

        Raises:
            InputError: A file is missing or no image, a folder is empty, or an array is not as expected.
        """
        return self.extract(_Images(list_inputs(inputs), self.cfg.test_pipeline))

    def extract(self, dataset: Dataset) -> np.ndarray:
        """Compute the features of a data set that has the test pipeline: float32 (N, D), rows of unit norm."""
        with self._progress(len(dataset)) as reached:  # type: ignore[arg-type]
            features = extract_features(
                self.model, dataset, self.batch_size, self.num_workers, reached=reached
            )
        # The mean of two teachers is clustered as it is, but tested at unit norm.
        return F.normalize(features, dim=1).cpu().numpy()

    def compare(self, first: ImageInput, second: ImageInput) -> float:
        """Cosine similarity of two images, -1..1.

        Of many pairs: ``inferencer(images) @ inferencer(others).T``.

        Raises:
            InputError: As for a call; or one of the two is a folder of several images.
        """
        features = self([first, second])
        if len(features) != 2:
            raise InputError(
                f"found {len(features)} images to compare, expected two; for more take the product of their features, "
                "inferencer(images) @ inferencer(others).T."
            )
        return float(features[0] @ features[1])

    def build_gallery(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        index: IndexKind = "flat",
        effort: int = 64,
    ) -> Gallery:
        """Compute the features of many images and index them; :meth:`search` searches them from now on.

        Args:
            inputs: As for a call.
            index: ``'flat'`` is exact, ``'ivf'`` and ``'hnsw'`` are approximate and need faiss.
            effort: What an approximate search spends on a query; more finds more.

        Returns:
            The gallery, also kept as :attr:`gallery`.
        """
        images = list_inputs(inputs)
        features = self.extract(_Images(images, self.cfg.test_pipeline))
        self.gallery = Gallery(features, image_names(images), self.fingerprint, index, effort)
        return self.gallery

    def load_gallery(self, path: str | Path) -> Gallery:
        """Read a gallery that this model made; :meth:`search` searches it from now on.

        Raises:
            InputError: The file is missing or no gallery, or was made by another model or preprocessing.
        """
        gallery = Gallery.load(path)
        if gallery.fingerprint != self.fingerprint:
            raise InputError(
                f"the gallery {str(path)!r} was made by a model or preprocessing with the fingerprint "
                f"{gallery.fingerprint[:12]}, this one has {self.fingerprint[:12]}, and features of the two cannot be "
                "compared: give the config and checkpoint that made it, or build the gallery again."
            )
        self.gallery = gallery
        return gallery

    def search(
        self, queries: ImageInput | Sequence[ImageInput], topk: int = 10
    ) -> list[list[Match]]:
        """Find the gallery images most similar to each query.

        Args:
            queries: As for a call, Q images.
            topk: Matches per query.

        Returns:
            Q lists of matches, best first.

        Raises:
            InputError: There is no gallery yet; or as for a call.
        """
        if self.gallery is None:
            raise InputError(
                "found no gallery to search; call build_gallery(images) or load_gallery(path) first."
            )
        return self.gallery.search(self(queries), topk)

    @contextmanager
    def _progress(self, total: int) -> Iterator[Any]:
        """A bar on stderr, where results on stdout stay clean: yields what takes the number of images done."""
        console = Console(stderr=True)
        shown = self.show_progress and total > self.batch_size and console.is_terminal
        with Progress(console=console, disable=not shown) as bar:
            task = bar.add_task("features", total=total)
            yield lambda done: bar.update(task, completed=done)


def list_inputs(inputs: ImageInput | Sequence[ImageInput]) -> list[str | np.ndarray]:
    """Spread folders and lists over single images.

    Args:
        inputs: As for :class:`ReIDInferencer`.

    Returns:
        Paths and arrays, at least one.

    Raises:
        InputError: A path does not exist, a folder holds no image, the list is empty, an array is not uint8
            (H, W, 3), or it is something else.
    """
    several: Iterable[Any] = [inputs]
    if isinstance(inputs, Iterable) and not isinstance(inputs, (str, np.ndarray)):
        several = inputs
    images = [image for one in several for image in _spread(one)]
    if not images:
        raise InputError(
            "found an empty list of images, expected at least one file, folder or array."
        )
    return images


def image_names(images: Sequence[str | np.ndarray]) -> list[str]:
    """Paths as they are; ``<array n>`` for the n-th entry if it is pixels."""
    return [
        image if isinstance(image, str) else f"<array {number}>"
        for number, image in enumerate(images)
    ]


def _spread(one: Any) -> list[str | np.ndarray]:
    """The images that one input stands for."""
    if isinstance(one, np.ndarray):
        if one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3 or not one.size:
            raise InputError(
                f"found an array of {one.dtype} and shape {one.shape}, expected an image as OpenCV reads it: uint8 "
                "(H, W, 3) in BGR order; give several as a list."
            )
        return [one]
    if not isinstance(one, (str, Path)):
        raise InputError(
            f"found a {type(one).__name__} among the images, expected paths of files or folders, or NumPy arrays."
        )
    path = Path(one)
    if path.is_dir():
        names = walk_images(str(path), IMAGE_EXTENSIONS)
        if not names:
            raise InputError(
                f"found 0 images ({', '.join(IMAGE_EXTENSIONS)}) in the folder {str(path)!r} and below it, expected at "
                "least one."
            )
        return [str(path / name) for name in names]
    if not path.is_file():
        raise InputError(f"the image {str(path)!r} does not exist; correct the path.")
    return [str(path)]


class _Images(Dataset):
    """Single images through the test pipeline, whose first transform reads files and is left out for arrays."""

    def __init__(self, images: Sequence[str | np.ndarray], pipeline: Sequence[Any]) -> None:
        self.images = images
        self.load, *rest = (TRANSFORMS.build(step) for step in pipeline)
        self.prepare = Compose(rest)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        if isinstance(image, np.ndarray):
            return self.prepare({"img": image})
        try:
            return self.prepare(self.load({"img_path": image}))
        except InputError as error:
            # The reader's advice is about data sets and their options.
            found = str(error).partition(";")[0]
            raise InputError(f"{found}; restore the file, or leave it out.") from error
