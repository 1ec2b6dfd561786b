"""A jointed figure in three dimensions, projected onto a canvas and painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .appearance import Color, Garment
from .brush import fill, shaded

__all__ = ["Figure", "Point", "Pose"]

Point = tuple[float, float, float]
"""(lateral, forward, up) in body heights; lateral is positive to the person's left, the feet stand at up = 0."""

_ARC = np.linspace(-np.pi / 2, np.pi / 2, 7)
_CIRCLE = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_SUBPIXEL = 4


@dataclass(frozen=True)
class Pose:
    """How a person is seen in one image.

    Attributes:
        yaw: Turn of the body in radians: 0 faces the camera, pi/2 walks to the right, pi is seen from behind.
        phase: Phase of the gait in radians.
        stride: Largest angle of the thighs in radians; near 0 stands.
        arms: ``swing``, ``pockets`` or ``phone``; detailed people also ``front``, ``crossed``, ``carry`` or ``wide``.
        pitch: 0 for a camera at eye level, towards 1 the higher it hangs.
        lean: Sideways lean of the body in body heights.
        light: Contrast of the light on detailed people, signed: positive comes from the right.
    """

    yaw: float
    phase: float
    stride: float
    arms: str = "swing"
    pitch: float = 0.0
    lean: float = 0.0
    light: float = 0.0


class Figure:
    """A canvas with the projection of one body onto it.

    The canvas has a fourth channel that collects the silhouette, so that every part is drawn once.

    Args:
        canvas: uint8 (H, W, 4), drawn on in place.
        pose: Direction and perspective.
        x: Column of the body's axis in pixels.
        y: Row of the ground in pixels.
        height: Height of the body in pixels.
    """

    def __init__(self, canvas: np.ndarray, pose: Pose, x: float, y: float, height: float) -> None:
        self.canvas = canvas
        self.pose = pose
        self.x, self.y, self.height = x, y, height
        self.sin, self.cos = float(np.sin(pose.yaw)), float(np.cos(pose.yaw))

    def depth(self, lateral: float, forward: float) -> float:
        """Distance of a point towards the camera.

        Args:
            lateral: To the side of the body's axis, in body heights.
            forward: In front of it, in body heights.

        Returns:
            Body heights, positive nearer to the camera.
        """
        return forward * self.cos - lateral * self.sin

    def project(self, point: Point) -> tuple[float, float]:
        """Pixel coordinates of a point of the body.

        Args:
            point: To the side, forward and up, in body heights.

        Returns:
            Column and row.
        """
        lateral, forward, up = point
        # A high camera sees the head larger than the feet, and things nearer to it lower in the image.
        widen = 1 + 0.25 * self.pose.pitch * (up - 0.5)
        across = (lateral * self.cos + forward * self.sin) * widen + self.pose.lean * up
        drop = 0.45 * self.pose.pitch * self.depth(lateral, forward)
        return self.x + across * self.height, self.y - (up - drop) * self.height

    def axis(self, forward: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Pixel coordinates of points in the middle of the body.

        Args:
            forward: float (n,), in body heights.
            up: float (n,), in body heights.

        Returns:
            Columns and rows, float (n, 2).
        """
        widen = 1 + 0.25 * self.pose.pitch * (up - 0.5)
        across = forward * self.sin * widen + self.pose.lean * up
        drop = 0.45 * self.pose.pitch * forward * self.cos
        return np.stack([self.x + across * self.height, self.y - (up - drop) * self.height], 1)

    def extent(self, half_width: float, half_depth: float) -> float:
        """Half the width on the image of an upright elliptic cylinder.

        Args:
            half_width: From side to side, in body heights.
            half_depth: From front to back, in body heights.

        Returns:
            Body heights.
        """
        return float(np.hypot(half_width * self.cos, half_depth * self.sin))

    def polygon(self, points: np.ndarray | Sequence[tuple[float, float]], color: Color) -> None:
        """Fill a polygon.

        Args:
            points: float (n, 2), column and row in pixels.
            color: BGR, 0..255.
        """
        fill(self.canvas, points, color)

    def ellipse(self, center: tuple[float, float], half: tuple[float, float], color: Color) -> None:
        """Fill an upright ellipse.

        Args:
            center: Column and row in pixels.
            half: Half axes, across and up, in body heights.
            color: BGR, 0..255.
        """
        points = np.stack([np.cos(_CIRCLE) * half[0], np.sin(_CIRCLE) * half[1]], 1) * self.height
        self.polygon(points + center, color)

    def limb(
        self, start: Point, end: Point, widths: tuple[float, float], color: Color
    ) -> np.ndarray:
        """Fill a tapered capsule between two joints.

        Args:
            start: First joint: to the side, forward and up, in body heights.
            end: Second joint.
            widths: Radii at both, in body heights.
            color: BGR, 0..255.

        Returns:
            Its outline in pixels, float (n, 2).
        """
        (x0, y0), (x1, y1) = self.project(start), self.project(end)
        angle = np.arctan2(y1 - y0, x1 - x0)
        r0, r1 = widths[0] * self.height, widths[1] * self.height
        across, down = np.cos(angle + _ARC), np.sin(angle + _ARC)
        outline = np.empty((2 * len(_ARC), 2))
        outline[: len(_ARC), 0], outline[: len(_ARC), 1] = x1 + r1 * across, y1 + r1 * down
        outline[len(_ARC) :, 0], outline[len(_ARC) :, 1] = x0 - r0 * across, y0 - r0 * down
        self.polygon(outline, color)
        return outline

    def pattern(self, outline: np.ndarray, garment: Garment, shade: float) -> None:
        """Paint a garment's pattern inside an outline.

        Args:
            outline: float (n, 2), column and row in pixels.
            garment: Has pattern, period and second colour.
            shade: Factor on that colour.
        """
        low = np.maximum(np.floor(outline.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(outline.max(0)).astype(int) + 1, self.canvas.shape[1::-1])
        if (high <= low).any():
            return
        inside = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        fixed = np.round((outline - low) * (1 << _SUBPIXEL)).astype(np.int32)
        cv2.fillPoly(inside, [fixed], 255, cv2.LINE_AA, _SUBPIXEL)
        # Cloth coordinates in periods: up the body, and around it, so that a turn of the body moves the pattern.
        across = (np.arange(low[0], high[0]) - self.x) / self.height / garment.period
        across = across + 0.12 * self.pose.yaw / garment.period
        up = (self.y - np.arange(low[1], high[1])) / self.height / garment.period
        weight = inside * _weave(garment.pattern, across[None, :], up[:, None]) / 255.0
        region = self.canvas[low[1] : high[1], low[0] : high[0], :3]
        second = np.array(shaded(garment.second, shade), np.float32)
        region[:] = region + (second - region) * weight[..., None]


def _weave(pattern: str, across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Where a pattern shows the second colour, 0..1, from cloth coordinates (1, w) and (h, 1)."""
    rows, columns = up % 1.0 < 0.45, across % 1.0 < 0.4
    if pattern == "stripes":
        return rows * np.ones_like(across)
    if pattern == "pinstripes":
        return columns * np.ones_like(up)
    if pattern == "checks":
        return 0.5 * rows + 0.5 * columns
    return 1.0 * ((across % 1.0 - 0.5) ** 2 + (up % 1.0 - 0.5) ** 2 < 0.09)  # dots
