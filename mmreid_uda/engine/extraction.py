"""The one way features are extracted: for clustering, for tools and for the inferencer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from mmreid_uda import compat
from mmreid_uda.datasets import ReIDDataset
from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.models.layers import cameras_of
from mmreid_uda.utils import InputError, check_vectors, loading_processes
from mmreid_uda.utils.dist import gather_turns, own_turns
from mmreid_uda.utils.feature_file import FeatureFile, Place
from mmreid_uda.utils.progress import Progress

__all__ = ["extract_features", "unwrap", "with_pipeline"]


def unwrap(model: nn.Module) -> Any:
    """The algorithm inside a ``DistributedDataParallel`` wrapper.

    Args:
        model: Wrapped or not.

    Returns:
        The algorithm, or the model itself.
    """
    return model.module if is_model_wrapper(model) else model


def with_pipeline(dataset: ReIDDataset, pipeline: Sequence[Any]) -> ReIDDataset:
    """The same images, labels and cache seen through another pipeline.

    Args:
        dataset: Left as it is.
        pipeline: Transforms or their configs.

    Returns:
        A view: all but the pipeline is shared, not copied.
    """
    view = copy.copy(dataset)
    view.set_pipeline(pipeline)
    return view


@torch.no_grad()
def extract_features(
    model: nn.Module,
    dataset: Dataset,
    batch_size: int = 64,
    num_workers: int | Literal["auto"] = "auto",
    amp_dtype: torch.dtype | None = None,
    update: Callable[[int], Any] | None = None,
    network: Callable[[Tensor], Tensor] | None = None,
    place: Place | None = None,
) -> Tensor:
    """Compute the test features of all images of a dataset, on all ranks together.

    Ranks take whole batches in turn: every image is computed in the same batch whatever the number of ranks, and its
    feature is the same to the last bit. The model is put in evaluation mode and back.

    Args:
        model: An algorithm, wrapped or not; its ``data_preprocessor`` and ``mode='tensor'`` are used.
        dataset: A dataset with the *test* pipeline, ``N`` items.
        batch_size: Images per forward pass and rank.
        num_workers: Loading processes per rank; ``'auto'`` follows the machine.
        amp_dtype: Autocast to this type during the forward pass; ``None`` computes in float32.
        update: Called after every batch with the number of images done so far. Defaults to None: a line in the log
            every half minute.
        network: Maps normalised images (B, 3, H, W) to the features (B, D) that are wanted of them, with parts of the
            model. Defaults to None: the model's test features.
        place: Which file takes the features, if any does. Defaults to None: they stay in memory.

    Returns:
        float32 (N, D) on the model's device, finite, in the order of the dataset, the same on every rank. In a file the
        same, but on the CPU, see :meth:`.FeatureFile.mapped`.

    Raises:
        InputError: The dataset is empty, or a feature is not finite; or as for :class:`.FeatureFile`.
    """
    algorithm = unwrap(model)
    device = next(algorithm.parameters()).device
    size = len(dataset)  # type: ignore[arg-type]
    if not size:
        raise InputError("found a dataset of 0 images to extract features of, expected at least 1.")
    own = own_turns(torch.arange(size).split(batch_size))
    loader = DataLoader(
        Subset(dataset, torch.cat(list(own)).tolist() if own else []),
        batch_size=batch_size,
        num_workers=loading_processes(num_workers),
        collate_fn=reid_collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=compat.start_worker,
    )
    was_training, parts = algorithm.training, []
    algorithm.eval()
    update = update or Progress("extracting features", size, "images").update
    names = getattr(dataset, "paths", None)
    file = None if own else FeatureFile.at(place, size, 0)
    for number, batch in enumerate(loader, 1):
        batch = algorithm.data_preprocessor(batch, False)
        with torch.autocast(device.type, dtype=amp_dtype, enabled=amp_dtype is not None):
            if network is None:
                part = algorithm(batch["inputs"], batch["data_samples"], mode="tensor")
            else:
                known = cameras_of(algorithm, batch["data_samples"])
                with algorithm.autocast_for_encoders(), known:
                    part = network(batch["inputs"])
        if number == 1:
            file = FeatureFile.at(place, size, part.shape[1])
        if file is None:
            parts.append(part.float())
        else:
            start, stop = int(own[number - 1][0]), int(own[number - 1][-1]) + 1
            file.write(start, part.float(), None if names is None else names[start:stop])
        update(min(size, number * batch_size * get_world_size()))
    algorithm.train(was_training)
    if file is not None:
        return file.mapped()
    return check_vectors(gather_turns(parts, size, batch_size), "features", names=names, zeros=True)
