"""Pictures of a training as it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import MinLen
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Subset

from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.registry import HOOKS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import run_on_rank0
from mmreid_uda.utils.values import Count, Natural
from mmreid_uda.visualization import (
    activation_energy,
    camera_histograms,
    draw_activation_maps,
    draw_camera_distances,
    draw_cluster_collage,
    draw_embedding,
    draw_rank_list,
    figure_pixels,
    in_largest,
    project,
    query_caption,
    rank_rows,
)
from mmreid_uda.visualization.tiles import read_crop, spread

from ..extraction import extract_features, unwrap

__all__ = ["VisualizationHook"]

_OF_FEATURES = ("rank_lists", "embedding", "camera_distances")
Picture = Literal[
    "rank_lists", "embedding", "camera_distances", "activation_maps", "cluster_collages"
]
"""What the hook can draw."""


@HOOKS.register_module()
class VisualizationHook(Hook):
    """Draw pictures every few epochs, through the Runner's visualizer: to files, TensorBoard, Weights & Biases.

    Files are ``work_dir/<start>/vis_data/vis_image/<picture>_<epoch>.png``. No config has this hook unless it is added.
    The features of the first test set are computed for the pictures alone, which takes as long as a test.

    Args:
        pictures: Some of ``'rank_lists'``, ``'embedding'`` (t-SNE of some people), ``'camera_distances'`` and
            ``'activation_maps'``, of the first test set, and ``'cluster_collages'``, of the target's pseudo-labels.
            Defaults to rank lists and clusters.
        interval: Draw after every so many epochs. Defaults to 5.
        num: Queries, crops, or rows per kind of cluster. Defaults to 4.
        groups: People on the embedding. Defaults to 15.
        batch_size: Images per forward pass and rank. Defaults to 128.
        num_workers: Loading processes per rank. Defaults to ``'auto'``: as the machine has cores.

    Raises:
        InputError: If a picture is unknown, a number below 1, or what is to be drawn is not there. A picture that
            cannot be drawn after some epoch is a warning.

    Example:
        >>> custom_hooks = [dict(type='VisualizationHook', interval=10, pictures=['rank_lists', 'embedding'])]
        >>> vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    """

    # After the ranks have made their batch statistics equal.
    priority = "LOW"

    def __init__(
        self,
        pictures: Annotated[Sequence[Picture], MinLen(1)] = ("rank_lists", "cluster_collages"),
        interval: Count = 5,
        num: Count = 4,
        groups: Count = 15,
        batch_size: Count = 128,
        num_workers: Natural | Literal["auto"] = "auto",
    ) -> None:
        self.pictures, self.interval, self.num, self.groups = pictures, interval, num, groups
        self.batch_size, self.num_workers = batch_size, num_workers

    def before_train(self, runner: Runner) -> None:
        """Check that there is a test set, or clusters and a truth to compare them with, not epochs later.

        Raises:
            InputError: If a picture lacks what it is drawn of.
        """
        of_test_set = set(self.pictures) - {"cluster_collages"}
        if of_test_set and runner.val_loop is None:
            raise InputError(
                f"VisualizationHook: found no test set to draw {', '.join(sorted(of_test_set))} of, expected one in "
                "`test`: leave them out of its pictures."
            )
        if "cluster_collages" in self.pictures:
            target = runner.train_dataloader.dataset.target
            if target is None or not (target.true_labels >= 0).any():
                raise InputError(
                    f"VisualizationHook: found {'no' if target is None else 'an unlabelled'} target, expected training "
                    "images with pseudo-labels and true identities: leave 'cluster_collages' out of its pictures."
                )

    def after_train_epoch(self, runner: Runner) -> None:
        """Extract features with all ranks, if a picture needs them; draw on rank 0."""
        if not self.every_n_epochs(runner, self.interval):
            return
        features = np.empty((0, 0), np.float32)
        if set(self.pictures) & set(_OF_FEATURES):
            dataset = runner.val_dataloader.dataset
            images = Subset(dataset, _first_set(dataset).tolist())
            rows = extract_features(runner.model, images, self.batch_size, self.num_workers)
            features = torch.nn.functional.normalize(rows, dim=1).cpu().numpy()

        def draw() -> None:
            for name in self.pictures:
                try:
                    picture = getattr(self, f"_{name}")(runner, features)
                    # The visualizer takes RGB.
                    runner.visualizer.add_image(name, picture[:, :, ::-1].copy(), runner.epoch + 1)
                # A picture is not worth a training: no cluster yet, a full disk.
                except (InputError, OSError) as error:
                    runner.logger.warning(f"VisualizationHook has not drawn {name}: {error}")

        run_on_rank0(draw)

    # ---- pictures: uint8 (H, W, 3), BGR

    def _rank_lists(self, runner: Runner, features: np.ndarray) -> np.ndarray:
        dataset = runner.val_dataloader.dataset
        first = _first_set(dataset)
        pids, camids, cameras = (
            values[first] for values in (dataset.pids, dataset.camids, dataset.cameras)
        )
        paths, ids = [dataset.paths[one] for one in first], dataset.ids[first]
        chosen = spread(np.flatnonzero(dataset.is_query[first]), self.num).tolist()
        return draw_rank_list(
            rank_rows(features, pids, camids, dataset.is_gallery[first], paths, chosen, ids=ids),
            [query_caption(paths[one], ids[one], cameras[one]) for one in chosen],
        )

    def _embedding(self, runner: Runner, features: np.ndarray) -> np.ndarray:
        pids = runner.val_dataloader.dataset.pids[_first_set(runner.val_dataloader.dataset)]
        shown = in_largest(pids, self.groups)
        points = project(features[shown], seed=runner.seed)
        return figure_pixels(draw_embedding(points, pids[shown], title="by identity"))

    def _camera_distances(self, runner: Runner, features: np.ndarray) -> np.ndarray:
        dataset = runner.val_dataloader.dataset
        first = _first_set(dataset)
        histograms = camera_histograms(features, dataset.pids[first], dataset.cameras[first])
        return figure_pixels(draw_camera_distances(histograms))

    def _activation_maps(self, runner: Runner, features: np.ndarray) -> np.ndarray:
        dataset = runner.val_dataloader.dataset
        chosen = spread(_first_set(dataset), self.num)
        model = unwrap(runner.model)
        batch = model.data_preprocessor(reid_collate([dataset[int(one)] for one in chosen]), False)
        was_training = model.training
        model.eval()
        energy = activation_energy(model.tested_encoders()[0], batch["inputs"])
        model.train(was_training)
        return draw_activation_maps([read_crop(dataset.paths[one]) for one in chosen], energy)

    def _cluster_collages(self, runner: Runner, features: np.ndarray) -> np.ndarray:
        target = runner.train_dataloader.dataset.target
        return draw_cluster_collage(
            target.paths, target.labels.numpy(), target.true_labels, self.num
        )


def _first_set(dataset: torch.utils.data.Dataset) -> np.ndarray:
    """Positions of the first test set's queries and gallery images."""
    return np.flatnonzero(dataset.set_ids == 0)  # type: ignore[attr-defined]
