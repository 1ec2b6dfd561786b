"""Features, comparison and search for those who deploy a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

from mmreid_uda.config import read_pretrained_config
from mmreid_uda.datasets import ReIDDataset
from mmreid_uda.engine import extract_features, with_pipeline
from mmreid_uda.evaluation import TimePrior
from mmreid_uda.gallery import (
    FileGallery,
    Gallery,
    GallerySettings,
    Match,
    Sightings,
    open_gallery,
    require_same_model,
)
from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.choices import IndexKind
from mmreid_uda.utils.values import Count, Natural, checked

from .inputs import ImageInput, image_names, list_inputs
from .model import init_model, model_fingerprint

__all__ = ["PreparedImages", "ReIDInferencer"]


@checked
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
        InputError: For a config, checkpoint, device or number that is missing or does not fit.

    Example:
        >>> inferencer = ReIDInferencer('ise_r50_market', 'work_dirs/ise_r50_market')
        >>> features = inferencer.extract(['a.jpg', 'crops/', pixels])
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
        batch_size: Count = 64,
        num_workers: Natural = 0,
        show_progress: bool = True,
    ) -> None:
        self.model: Any = init_model(config, checkpoint, device, options)
        self.cfg = self.model.cfg
        self.fingerprint = model_fingerprint(self.model, self.cfg)
        self._settings = GallerySettings(
            fingerprint=self.fingerprint,
            config=_lasting(config),
            checkpoint=_lasting(checkpoint or ""),
            options=options,
        )
        self.batch_size, self.num_workers = batch_size, num_workers
        self.show_progress = show_progress
        self.gallery: Gallery | None = None

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device | None = None, **settings: Any
    ) -> ReIDInferencer:
        """Load a folder of ``mmreid export --to pretrained``: no network, no pickle, no code but this package's.

        Args:
            folder: With ``config.json`` and ``model.safetensors``; a model of a hub is downloaded first.
            device: As for the class.
            **settings: ``batch_size``, ``num_workers``, ``show_progress``, as for the class.

        Returns:
            The model, whose features are bit for bit those of the one that was exported.

        Raises:
            InputError: It is no such folder, its files do not belong together, or the package safetensors is missing.
        """
        read_pretrained_config(folder)  # whose sentence is about folders alone
        return cls(folder, device=device, **settings)

    def extract(self, inputs: ImageInput | Sequence[ImageInput] | Dataset) -> np.ndarray:
        """Compute features; ``inferencer(inputs)`` is the same.

        Args:
            inputs: An image (a file, or an array as OpenCV reads it: uint8 (H, W, 3) in BGR order), a folder, a list of
                these (see :func:`list_inputs`), or a dataset. A :class:`ReIDDataset` is seen through the test
                pipeline, whatever its own; items of any other are taken as they are, as the test pipeline packs them.

        Returns:
            float32 (N, D), finite rows of unit norm, in the order of the inputs.

        Raises:
            InputError: A file is missing or no image, a folder is empty, an array is not as expected, it is something
                else, or the features are not finite.
        """
        if isinstance(inputs, ReIDDataset):
            dataset: Any = with_pipeline(inputs, self.cfg.test_pipeline)
        elif isinstance(inputs, Dataset):
            dataset = _packed(inputs)
        else:
            dataset = PreparedImages(list_inputs(inputs), self.cfg.test_pipeline)
        with self._progress(len(dataset)) as update:
            features = extract_features(
                self.model, dataset, self.batch_size, self.num_workers, update=update
            )
        # The mean of two teachers is clustered as it is, but tested at unit norm.
        rows = check_vectors(features, "features", names=getattr(dataset, "paths", None))
        return F.normalize(rows, dim=1).cpu().numpy()

    __call__ = extract

    def compare(self, first: ImageInput, second: ImageInput) -> float:
        """Cosine similarity of two images.

        Of many pairs: ``inferencer.extract(images) @ inferencer.extract(others).T``.

        Args:
            first: One image, as for :meth:`extract`.
            second: The other.

        Returns:
            -1..1.

        Raises:
            InputError: As for :meth:`extract`; or one of the two is a folder of several images.
        """
        features = self.extract([first, second])
        if len(features) != 2:
            raise InputError(
                f"found {len(features)} images to compare, expected two; for more take the product of their features, "
                "inferencer.extract(images) @ inferencer.extract(others).T."
            )
        return float(features[0] @ features[1])

    def build_gallery(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        index: IndexKind = "flat",
        nprobe: Count = 64,
        ef_search: Count = 64,
        sightings: Sightings | None = None,
    ) -> FileGallery:
        """Compute the features of many images and index them; :meth:`search` searches them from now on.

        Args:
            inputs: As for :meth:`extract`, other than datasets.
            index: ``'flat'`` is exact, ``'ivf'`` and ``'hnsw'`` are approximate and need faiss.
            nprobe: Lists that a search of ``'ivf'`` looks at; more finds more.
            ef_search: Candidates that a search of ``'hnsw'`` keeps; likewise.
            sightings: Where and when the images were taken, for a search with a time prior.

        Returns:
            The gallery, also kept as :attr:`gallery`.
        """
        images = list_inputs(inputs)
        features = self.extract(images)
        gallery = FileGallery.of(
            features,
            image_names(images),
            self.fingerprint,
            index,
            nprobe,
            ef_search,
            sightings,
        )
        self.gallery = gallery
        return gallery

    @classmethod
    def of_gallery(
        cls, gallery: Gallery, device: str | torch.device | None = None, **options: Any
    ) -> ReIDInferencer:
        """Build the model that has made a gallery; :meth:`search` searches the gallery from now on.

        Args:
            gallery: One that names its config, as :meth:`open_gallery` and ``mmreid gallery add`` make them.
            device: As for the class.
            **options: As for the class.

        Returns:
            The inferencer.

        Raises:
            InputError: The gallery names no config, what it names is gone, or gives another fingerprint.
        """
        settings = gallery.settings
        if not settings.config:
            raise InputError(
                f"found no config in the gallery {gallery.url!r}, expected the model that made it: give its config and "
                "checkpoint (--config, --checkpoint)."
            )
        merged = {**(settings.options or {}), **(options.pop("options", None) or {})}
        checkpoint = settings.checkpoint or None
        inferencer = cls(settings.config, checkpoint, device, options=merged, **options)
        require_same_model(inferencer.fingerprint, gallery.fingerprint, gallery.url)
        inferencer.gallery = gallery
        return inferencer

    @checked
    def open_gallery(self, url: str | Path) -> Gallery:
        """Open a gallery that this model made, or make an empty one that names this model.

        Args:
            url: See :func:`~mmreid_uda.gallery.open_gallery`.

        Returns:
            The gallery; :meth:`search` searches it from now on.

        Raises:
            InputError: It was made by another model or preprocessing, or is no gallery.
        """
        self.gallery = open_gallery(url, create=self._settings)
        return self.gallery

    @checked
    def load_gallery(self, url: str | Path) -> Gallery:
        """Open a gallery that this model made; :meth:`search` searches it from now on.

        Args:
            url: An ``.npz`` file, or another gallery, see :func:`~mmreid_uda.gallery.open_gallery`.

        Returns:
            The gallery.

        Raises:
            InputError: It is missing or no gallery, or was made by another model or preprocessing.
        """
        gallery = open_gallery(url)
        try:
            require_same_model(self.fingerprint, gallery.fingerprint, str(url))
        except InputError:
            gallery.close()
            raise
        self.gallery = gallery
        return gallery

    def search(
        self,
        queries: ImageInput | Sequence[ImageInput],
        topk: int = 10,
        prior: TimePrior | None = None,
        sightings: Sightings | None = None,
        **options: Any,
    ) -> list[list[Match]]:
        """Find the gallery images most similar to each query.

        Args:
            queries: As for :meth:`extract`, Q images.
            topk: Matches per query.
            prior: Ranks by the time between cameras as well. Defaults to None: by looks alone.
            sightings: Where and when the queries were taken; a prior needs it.
            **options: Filters, groups and others of :meth:`~mmreid_uda.gallery.Gallery.search`.

        Returns:
            Q lists of matches, best first.

        Raises:
            InputError: There is no gallery yet; or as for :meth:`extract` and the search.
        """
        if self.gallery is None:
            raise InputError(
                "found no gallery to search; call build_gallery(images) or load_gallery(path) first."
            )
        return self.gallery.search(
            self.extract(queries), topk, prior=prior, sightings=sightings, **options
        )

    @contextmanager
    def _progress(self, total: int) -> Iterator[Any]:
        """A bar on stderr, where results on stdout stay clean: yields what takes the number of images done."""
        console = Console(stderr=True)
        shown = self.show_progress and total > self.batch_size and console.is_terminal
        with Progress(console=console, disable=not shown) as bar:
            task = bar.add_task("features", total=total)
            yield lambda done: bar.update(task, completed=done)


def _lasting(name: str | Path) -> str:
    """A name that leads to the same config or checkpoint from any folder."""
    return str(Path(name).absolute()) if name and Path(name).exists() else str(name)


def _packed(dataset: Any) -> Dataset:
    """A dataset whose items are packed for the network, as its first one shows."""
    item = dataset[0] if len(dataset) else None
    if item is not None and not (isinstance(item, dict) and {"inputs", "samples"} <= set(item)):
        raise InputError(
            f"found a {type(item).__name__} as the first item of a {type(dataset).__name__}, expected what the test "
            "pipeline packs (inputs, samples): build the dataset with pipeline=inferencer.cfg.test_pipeline."
        )
    return dataset


class PreparedImages(Dataset):
    """Single images through the test pipeline, whose first transform reads files and is left out for arrays.

    Args:
        images: Paths, or arrays as OpenCV reads them, uint8 (H, W, 3).
        pipeline: The config's ``test_pipeline``.
    """

    def __init__(self, images: Sequence[str | np.ndarray], pipeline: Sequence[Any]) -> None:
        self.images, self.paths = images, image_names(images)
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
            # The reader's advice is about datasets and their options.
            found = str(error).partition(";")[0]
            raise InputError(f"{found}; restore the file, or leave it out.") from error
