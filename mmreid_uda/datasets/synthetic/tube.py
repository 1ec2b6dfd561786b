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
_NUMBERS = np.arange(64.0)
_CAP = np.stack([np.cos(np.linspace(-_QUARTER, _QUARTER, 7)), np.sin(np.linspace(-_QUARTER, _QUARTER, 7))])  # fmt: skip


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
        self._straight = len(half) == 2
        (x, y), (end_x, end_y) = axis[0].tolist(), axis[-1].tolist()
        self.length = max(1e-3, math.hypot(end_x - x, end_y - y))
        # A bent axis is that of an upright part, whose cross sections are level.
        down = ((end_x - x) / self.length, (end_y - y) / self.length)
        self.down = down if self._straight else (0.0, 1.0)
        self.normal = np.array((self.down[1], -self.down[0]))
        ascending = slice(None, None, 1 if levels[-1] > levels[0] else -1)
        self._known = levels[ascending]
        self._low, self._high = float(self._known[0]), float(self._known[-1])
        self._course = np.column_stack([axis, half])[ascending]

    def outline(self) -> np.ndarray:
        """The outline without round ends.

        Returns:
            float (2 n, 2) in pixels.
        """
        across = self.half[:, None] * self.normal
        return np.concatenate([self.axis + across, (self.axis - across)[::-1]])

    def capsule(self) -> np.ndarray:
        """The outline with round ends, of a straight part.

        Returns:
            float (n, 2) in pixels.
        """
        start, end = self.half.tolist()
        along = np.concatenate([self.length + end * _CAP[0], -start * _CAP[0]])
        across = np.concatenate([-end * _CAP[1], start * _CAP[1]])
        return self.axis[0] + along[:, None] * np.array(self.down) + across[:, None] * self.normal

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
        if max(azimuths) - min(azimuths) < 0.02:
            return
        levels = [min(max(level, self._low), self._high) for _, level in corners]
        if max(levels) == min(levels):
            return
        if self._straight:
            share = (np.array(levels) - self._low) / (self._high - self._low)
            course = self._course[0] + share[:, None] * (self._course[1] - self._course[0])
        else:
            place = np.interp(levels, self._known, _NUMBERS[: len(self._known)])
            before = np.minimum(place.astype(np.intp), len(self._known) - 2)
            course = self._course[before]
            course += (place - before)[:, None] * (self._course[before + 1] - course)
        across = course[:, 2] * np.sin(azimuths)
        self.figure.polygon(course[:, :2] + across[:, None] * self.normal, color)

    @cached_property
    def _surface(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The part of the canvas around it, and where its pixels are: across, -1..1 inside, and along in pixels."""
        canvas, corners = self.figure.canvas, self.outline()
        left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
        right, bottom = np.maximum(np.ceil(corners.max(0)).astype(int) + 1, 0)
        region = canvas[top:bottom, left:right]
        x, y = self.axis[0].tolist()
        rows = np.arange(top - y, top - y + region.shape[0] - 0.5, dtype=np.float32)[:, None]
        columns = np.arange(left - x, left - x + region.shape[1] - 0.5, dtype=np.float32)
        if self._straight:
            along = rows * self.down[1] + columns * self.down[0]
            slope = (self.half[1] - self.half[0]) / self.length
            across = columns * self.normal[0] + rows * self.normal[1]
            across /= np.maximum(along * np.float32(slope) + np.float32(self.half[0]), 0.5)
            over = 0.5 * float(self.half[0])
            across[(along < -over) | (along > self.length + over)] = 2.0
        else:
            along = rows
            known = self.axis[:, 1] - y
            middle = np.interp(rows, known, self.axis[:, 0] - x).astype(np.float32)
            across = (columns - middle) / np.interp(rows, known, self.half).astype(np.float32)
        return region, across, along

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
