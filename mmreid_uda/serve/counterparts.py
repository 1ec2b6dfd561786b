"""Which item of the gallery is which image of the review: both are of the same file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache

from mmreid_uda.datasets.files import read_file
from mmreid_uda.gallery import Filter, Gallery, content_id
from mmreid_uda.review import Review

__all__ = ["Counterparts"]


class Counterparts:
    """Looks up items by images and images by items, without going through the whole gallery.

    An item that was not named by the content of its file (:func:`~mmreid_uda.gallery.content_id`) is not found by its
    image.

    Args:
        gallery: None where there is only a run; then nothing has a counterpart.
        review: None where there is only a gallery; likewise.
    """

    def __init__(self, gallery: Gallery | None, review: Review | None) -> None:
        self.gallery, self.review = gallery, review
        paths = [] if gallery is None or review is None else review.paths
        # Not the real paths: 100,000 links to follow would take seconds.
        self._positions = {os.path.abspath(path): at for at, path in enumerate(paths)}
        self._name_of = lru_cache(1 << 17)(_content_id)

    def images(self, files: Iterable[str | os.PathLike[str]]) -> list[int | None]:
        """Images by the files of items.

        Args:
            files: Of items.

        Returns:
            The position of each one's image in the review; None where there is none.
        """
        return [self._positions.get(os.path.abspath(file)) for file in files]

    def items(self, images: Sequence[int]) -> list[str | None]:
        """Items by images.

        Args:
            images: Positions in the review.

        Returns:
            The id of each one's item; None where the gallery has none.
        """
        if self.gallery is None or self.review is None:
            return [None] * len(images)
        names = [self._name_of(self.review.paths[image]) for image in images]
        asked = tuple({name for name in names if name is not None})
        there = {
            id_
            for items in (self.gallery.scan(Filter(ids=asked), features=False) if asked else ())
            for id_ in items.ids
        }
        return [name if name in there else None for name in names]


def _content_id(path: str) -> str | None:
    """The id of a file; None where it cannot be read."""
    try:
        return content_id(read_file(path))
    except OSError:
        return None
