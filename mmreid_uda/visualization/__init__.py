"""Pictures: drawing functions, arrays in, an image (uint8, BGR) or a figure of matplotlib out."""

from .activation_map import activation_energy, draw_activation_maps
from .camera_distance import PAIRS, camera_histograms, draw_camera_distances
from .cluster_collage import ClusterKinds, cluster_kinds, draw_cluster_collage
from .cluster_sweep import draw_cluster_sweep
from .curves import Curve, draw_curves, read_scalars
from .embedding import draw_embedding, in_largest, project
from .loss_surface import filter_normalized_direction, loss_surface
from .picture import encode_picture, figure_pixels, new_figure, write_picture
from .rank_list import Ranked, RankRow, draw_rank_list, query_caption, rank_rows

__all__ = [
    "PAIRS",
    "ClusterKinds",
    "Curve",
    "RankRow",
    "Ranked",
    "activation_energy",
    "camera_histograms",
    "cluster_kinds",
    "draw_activation_maps",
    "draw_camera_distances",
    "draw_cluster_collage",
    "draw_cluster_sweep",
    "draw_curves",
    "draw_embedding",
    "draw_rank_list",
    "encode_picture",
    "figure_pixels",
    "filter_normalized_direction",
    "in_largest",
    "loss_surface",
    "new_figure",
    "project",
    "query_caption",
    "rank_rows",
    "read_scalars",
    "write_picture",
]
