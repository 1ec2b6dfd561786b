"""Rendered crops of people in several cameras: what is rendered, and the dataset that reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from mmreid_uda.registry import DATASETS
from mmreid_uda.utils.choices import Split
from mmreid_uda.utils.values import Count, Natural, checked

from ..market1501 import MarketStyleDataset
from .appearance import Identity
from .cache import ensure_rendered, write_jpeg
from .domains import DOMAINS
from .frames import frames_digest
from .renderer import DomainRenderer

__all__ = ["SyntheticReID", "SyntheticSpec"]

MAX_QUERIES_PER_ID = 3


Variant = Literal["a", "b", "c", "d", "e", "world"]
_NumIds = Annotated[int, Ge(2)]
_NumImages = Annotated[int, Ge(4)]


@checked
@dataclass(frozen=True)
class SyntheticSpec:
    """What is rendered; equal specifications give equal images.

    Attributes:
        variant: Domain: ``'a'`` campus in summer, ``'b'`` street at dusk in winter, ``'c'`` hall from above, ``'d'``
            and ``'e'`` two cameras each that differ strongly, ``'world'`` detailed people in many kinds of places.
        num_train_ids: Identities for training, numbered from 1.
        num_test_ids: Further identities for query and gallery.
        images_per_id: Mean number of images of an identity, at least 4; it varies by a third.
        seed: Seed of people, cameras and scenes.
        num_cameras: Number of cameras; None for those that the domain describes.
        backgrounds: Folder of empty frames in place of drawn scenes; it is what is in them that counts, see ``frames``.
        frames: Tells these frames from others; empty without any.
    """

    variant: Variant = "a"
    num_train_ids: _NumIds = 150
    num_test_ids: _NumIds = 100
    images_per_id: _NumImages = 10
    seed: Natural = 0
    num_cameras: Count | None = None
    backgrounds: str | None = field(default=None, compare=False)
    frames: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.backgrounds is not None:
            object.__setattr__(self, "frames", frames_digest(self.backgrounds))

    unit: ClassVar[str] = "identities"

    @property
    def folder_name(self) -> str:
        """The variant; for other than the default sizes followed by them, so that sizes do not fight for a folder."""
        if self == SyntheticSpec(self.variant):
            return self.variant
        cameras = "" if self.num_cameras is None else f"_cameras{self.num_cameras}"
        frames = f"_frames{self.frames}" if self.frames else ""
        return (
            f"{self.variant}_train{self.num_train_ids}_test{self.num_test_ids}"
            f"_images{self.images_per_id}{cameras}_seed{self.seed}{frames}"
        )

    @property
    def num_distractors(self) -> int:
        """False detections and strangers in the gallery, identity 0."""
        return self.num_test_ids

    @property
    def num_junk(self) -> int:
        """Badly placed boxes of test identities, identity -1."""
        return self.num_test_ids // 2

    def jobs(self) -> range:
        """What is rendered in one go.

        Returns:
            Identities, and 0 for distractors and junk.
        """
        return range(1 + self.num_train_ids + self.num_test_ids)

    def render(self, folder: str, job: int) -> None:
        """Render all images of one identity; 0 stands for distractors and junk.

        Args:
            folder: Where the three folders lie.
            job: The identity.
        """
        renderer = _renderer(self)
        if job == 0:
            _render_strays(folder, self, renderer)
        else:
            _render_pid(folder, self, renderer, job)


@DATASETS.register_module()
class SyntheticReID(MarketStyleDataset):
    """Rendered pedestrians in 6 cameras, or in 2 as unlike as real ones, made on first use: re-ID without a download.

    With the default sizes 150 identities (about 1,500 images) to train on and 100 others (about 285 queries, 815
    gallery images with 100 distractors) to test. The crops of 128×64 pixels lie in
    ``<data_root>/synthetic/<variant>/``, laid out like Market-1501; rendering takes about ten seconds, once. Figures on
    these images compare methods and catch mistakes; they say nothing about real cameras.

    Args:
        data_root: Folder of the datasets.
        split: ``'train'``, ``'query'`` or ``'gallery'``.
        pipeline: See :class:`ReIDDataset`.
        variant: ``'a'`` campus in summer; ``'b'`` street at dusk in winter, dark clothes; ``'c'`` hall from above, low
            resolution; ``'d'`` and ``'e'`` two cameras each, so unlike that plain features cluster by camera;
            ``'world'`` detailed people in many kinds of places, before cameras that are drawn as widely as they go.
        num_train_ids: Identities for training, at least 2.
        num_test_ids: Further identities for query and gallery, at least 2.
        images_per_id: Mean number of images of an identity, at least 4.
        render_seed: Seed of the people, cameras and scenes (``seed`` is that of the augmentation).
        num_cameras: Number of cameras, for ``'world'``. Defaults to those that the domain describes.
        backgrounds: Folder of empty frames of your own cameras, which serve in turn as what is behind people.
        name: See :class:`ReIDDataset`. Defaults to ``'synth<variant>'``.
        **kwargs: See :class:`ReIDDataset`.

    Raises:
        InputError: A parameter is out of range, the folder cannot be written, or frames cannot be read.

    Example:
        >>> train_dataloader = dict(dataset=dict(type='SyntheticReID', data_root='data', variant='b'))
    """

    name = "synthetic"

    def __init__(
        self,
        data_root: str,
        split: Split = "train",
        pipeline: Sequence[dict | Callable] = (),
        *,
        variant: Variant = "a",
        num_train_ids: _NumIds = 150,
        num_test_ids: _NumIds = 100,
        images_per_id: _NumImages = 10,
        render_seed: Natural = 0,
        num_cameras: Count | None = None,
        backgrounds: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        spec = SyntheticSpec(
            variant,
            num_train_ids,
            num_test_ids,
            images_per_id,
            render_seed,
            num_cameras,
            backgrounds,
        )
        folder = ensure_rendered(data_root, spec)
        self.cameras = range(1, 1 + (num_cameras or len(DOMAINS[variant].views)))
        super().__init__(folder, split, pipeline, name=name or f"synth{variant}", **kwargs)


# ---------------------------------------------------------------------------------------------------- rendering


@lru_cache(maxsize=1)
def _renderer(spec: SyntheticSpec) -> DomainRenderer:
    return DomainRenderer(spec.variant, spec.seed, spec.num_cameras, spec.backgrounds)


def _render_pid(folder: str, spec: SyntheticSpec, renderer: DomainRenderer, pid: int) -> None:
    rng = renderer.rng("walks", pid)
    who = renderer.identity(pid)
    spread = spec.images_per_id // 3
    number = spec.images_per_id + int(rng.integers(-spread, spread + 1))
    total = len(renderer.cameras)
    cameras = rng.permutation(total)[: min(number - 1, int(rng.integers(min(3, total), total + 1)))]
    testing = pid > spec.num_train_ids
    queries = min(MAX_QUERIES_PER_ID, len(cameras), number - len(cameras)) if testing else 0
    # Every camera gets one image at least; queries come on top, so that all find their person in another camera.
    shares = 1 + np.bincount(
        rng.integers(len(cameras), size=number - len(cameras) - queries), minlength=len(cameras)
    )
    for position, (camera, share) in enumerate(zip(cameras.tolist(), shares.tolist())):
        sighting = renderer.sighting(camera, rng)
        first_frame = int(rng.integers(60_000))
        queried = position < queries
        for step in range(share + queried):
            if step and renderer.domain.walk and step % renderer.domain.walk == 0:
                sighting = renderer.sighting(camera, rng)
                first_frame += int(rng.integers(1_000, 20_000))
            split = (
                ("query" if step == 0 and queried else "bounding_box_test")
                if testing
                else "bounding_box_train"
            )
            name = f"{pid:04d}_c{camera + 1}s{1 + first_frame % 3}_{first_frame + 24 * step:06d}_01.jpg"
            image = renderer.render(who, sighting, step, renderer.rng("image", pid, camera, step))
            write_jpeg(os.path.join(folder, split, name), image, renderer.cameras[camera].quality)


def _render_strays(folder: str, spec: SyntheticSpec, renderer: DomainRenderer) -> None:
    """Render distractors (background and strangers, identity 0) and junk (bad boxes of test people, identity -1)."""
    unseen = 1 + spec.num_train_ids + spec.num_test_ids
    for number in range(spec.num_distractors + spec.num_junk):
        rng = renderer.rng("clutter", number)
        camera = int(rng.integers(len(renderer.cameras)))
        junk = number >= spec.num_distractors
        who: Identity | None
        if junk:
            who = renderer.identity(1 + spec.num_train_ids + int(rng.integers(spec.num_test_ids)))
        else:
            who = renderer.identity(unseen + number) if rng.random() < 0.6 else None
        image = renderer.render(who, renderer.sighting(camera, rng), 0, rng, sloppy=True)
        name = f"{'-1' if junk else '0000'}_c{camera + 1}s1_{100 + 7 * number:06d}_00.jpg"
        write_jpeg(
            os.path.join(folder, "bounding_box_test", name), image, renderer.cameras[camera].quality
        )
