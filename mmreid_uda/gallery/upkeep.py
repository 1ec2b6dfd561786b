"""What a gallery needs as time goes by: items go, by age or by condition, with the images that it keeps of them."""

from __future__ import annotations

import shutil
import time

from mmreid_uda.utils.values import Positive, checked

from .filters import Filter
from .gallery import Gallery

__all__ = ["expire", "forget", "too_old"]

_SECONDS_PER_DAY = 86_400
_LONG_AGO = 1e15


@checked
def too_old(days: Positive) -> Filter:
    """The items that were added too long ago.

    Args:
        days: How long items may stay.

    Returns:
        A filter that finds them.
    """
    # Of a number of days that is larger than any: before all times, and still a number.
    return Filter(added_before=max(time.time() - days * _SECONDS_PER_DAY, -_LONG_AGO))


def forget(gallery: Gallery, where: Filter) -> int:
    """Delete items, the images that the gallery itself keeps of them, and its thumbnails, which can be made anew.

    Files that items only point to stay.

    Args:
        gallery: Any that can be changed.
        where: Which items.

    Returns:
        How many there were.

    Raises:
        InputError: The gallery is read-only.
    """
    ids = [one for items in gallery.scan(where, features=False) for one in items.ids]
    deleted = gallery.delete(where)
    gallery.flush()
    if deleted and gallery.folder is not None:
        for one in ids:
            (gallery.folder / "images" / f"{one}.jpg").unlink(missing_ok=True)
        shutil.rmtree(gallery.folder / "thumbnails", ignore_errors=True)
    return deleted


def expire(gallery: Gallery, days: Positive | None = None) -> int:
    """Forget the items that were added too long ago.

    Args:
        gallery: Any that can be changed.
        days: How long items may stay. Defaults to None: as the gallery's settings say; where they say nothing, for
            ever.

    Returns:
        How many there were.

    Raises:
        InputError: The gallery is read-only.
    """
    days = gallery.settings.retention_days if days is None else days
    return 0 if days is None else forget(gallery, too_old(days))
