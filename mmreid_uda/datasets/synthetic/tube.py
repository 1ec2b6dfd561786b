"""A round part of a figure with what is on its surface."""

from __future__ import annotations

import math
from functools import cached_property

import cv2
import numpy as np

from .appearance import Color, Garment
from .figure import Figure
from .garments import PERIODS, TILE, Corners, Shape, weave

__all__ = ["Tube"]

_QUARTER = math.pi / 2


class Tube:
    """A round part of a figure, whose cloth goes around it: what is on the back is not seen from the front.

    Args:
        figure: Has the canvas and the turn of the body.
        axis: Points of its axis in pixels, float (n, 2).
        half: Half its width there in pixels, float (n,).
        levels: Names of these points that shapes use, float (n,).
        radius: Of the body there, in body heights.
    """

    def __init__(
        self, figure: Figure, axis: np.ndarray, half: np.ndarray, levels: np.ndarray, radius: float
    ) -> None:
        self.figure = figure
        self.axis, self.half, self.radius = axis, half, radius
        down = axis[-1] - axis[0]
        self.length = max(1e-3, float(np.hypot(down[0], down[1])))
        self.down = down / self.length
        self.normal = np.array((self.down[1], -self.down[0]))
        ascending = slice(None, None, 1 if levels[-1] > levels[0] else -1)
        self._known = levels[ascending]
        self._low, self._high = float(self._known[0]), float(self._known[-1])
        self._course = [values[ascending] for values in (axis[:, 0], axis[:, 1], half)]

    def outline(self) -> np.ndarray:
        """The outline without round ends.

        Returns:
            float (2 n, 2) in pixels.
        """
        across = self.half[:, None] * self.normal
        return np.concatenate([self.axis + across, (self.axis - across)[::-1]])

    def patch(self, shape: Shape, color: Color) -> None:
        """Draw the visible part of a patch of cloth.

        Args:
            shape: See :data:`~mmreid_uda.datasets.synthetic.garments.Shape`; levels are those of the tube.
            color: BGR, 0..255.
        """
        middle, corners = shape
        turned = (middle + self.figure.pose.yaw + math.pi) % (2 * math.pi) - math.pi
        self._visible(turned, corners, color)
        if max(abs(offset) for offset, _ in corners) > _QUARTER:  # it may come forth on both sides
            self._visible(turned - math.copysign(2 * math.pi, turned), corners, color)

    def _visible(self, turn: float, corners: Corners, color: Color) -> None:
        azimuths = [min(max(turn + offset, -_QUARTER), _QUARTER) for offset, _ in corners]
        levels = [min(max(level, self._low), self._high) for _, level in corners]
        if max(azimuths) - min(azimuths) < 0.02 or max(levels) == min(levels):
            return
        x, y, half = (np.interp(levels, self._known, values) for values in self._course)
        across = half * np.sin(azimuths)
        points = np.empty((len(corners), 2))
        points[:, 0] = x + across * self.normal[0]
        points[:, 1] = y + across * self.normal[1]
        self.figure.polygon(points, color)

    @cached_property
    def _surface(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The part of the canvas around it, and where its pixels are: across, -1..1 inside, and along in pixels."""
        canvas, corners = self.figure.canvas, self.outline()
        left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
        right, bottom = np.maximum(np.ceil(corners.max(0)).astype(int) + 1, 0)
        region = canvas[top:bottom, left:right]
        rows = np.arange(top, top + region.shape[0], dtype=np.float32)[:, None] - self.axis[0, 1]
        columns = np.arange(left, left + region.shape[1], dtype=np.float32) - self.axis[0, 0]
        along = rows * self.down[1] + columns * self.down[0]
        across = columns * self.normal[0] + rows * self.normal[1]
        if len(self.half) == 2:
            slope = (self.half[1] - self.half[0]) / self.length
            across /= np.maximum(self.half[0] + slope * along, 0.5)
        else:
            offsets = self.axis - self.axis[0]
            known = offsets @ self.down
            across = (across - np.interp(along, known, offsets @ self.normal)) / np.interp(
                along, known, self.half
            )
        across[(along < -0.5 * self.half[0]) | (along > self.length + 0.5 * self.half[-1])] = 2.0
        return region, across.astype(np.float32), along

    def weave(self, garment: Garment, color: Color) -> None:
        """Paint the pattern of a garment.

        Args:
            garment: Has pattern, number and period.
            color: Second colour.
        """
        region, across, along = self._surface
        if not region.size:
            return
        tile = weave(garment.pattern, garment.number)
        scale = TILE / PERIODS / garment.period
        # Nearly the arc sine, which takes twice as long.
        around = across * (1 + 0.57 * across * across) - np.float32(self.figure.pose.yaw)
        around = (around * np.float32(self.radius * scale)).astype(np.int32) % TILE
        up = (along * np.float32(-scale / self.figure.height)).astype(np.int32) % TILE
        share = (tile[up, around] * (np.abs(across) <= 1))[..., None]
        region[..., :3] = region[..., :3] + (np.array(color, np.float32) - region[..., :3]) * share

    def shade(self) -> None:
        """Darken it towards its outline, and more so away from the light."""
        region, across, _ = self._surface
        if not region.size:
            return
        factor = 1.05 + across * (0.7 * self.figure.pose.light - 0.26 * across)
        factor[np.abs(across) > 1] = 1.0
        keep = np.ones_like(factor)
        region[:] = cv2.multiply(region, cv2.merge([factor] * 3 + [keep]), dtype=cv2.CV_8U)
