"""What a gallery needs as time goes by: items that have been there for too long are deleted."""

from __future__ import annotations

import time

from mmreid_uda.utils.values import Positive, checked

from .filters import Filter
from .gallery import Gallery

__all__ = ["SECONDS_PER_DAY", "expire"]

SECONDS_PER_DAY = 86_400


@checked
def expire(gallery: Gallery, days: Positive | None = None) -> int:
    """Delete the items that were added too long ago.

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
    if days is None:
        return 0
    return gallery.delete(Filter(added_before=time.time() - days * SECONDS_PER_DAY))
