"""Pictures: rank lists, loss surfaces."""

from .loss_surface import filter_normalised_direction, loss_surface
from .rank_list import draw_rank_list

__all__ = ["draw_rank_list", "filter_normalised_direction", "loss_surface"]
