"""A round part of a figure with what is on its surface."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import cached_property

import cv2
import numpy as np

from .appearance import Color, Garment
from .figure import Figure
from .garments import PERIODS, TILE, Corners, Shape, weave

__all__ = ["Tube"]

_QUARTER = math.pi / 2
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
        self.levels = levels

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
        known, course = self._course
        levels = [min(max(level, known[0]), known[-1]) for _, level in corners]
        if max(levels) == min(levels):
            return
        normal_x, normal_y = self.down[1], -self.down[0]
        points = []
        # A patch has few corners: plain numbers are faster than arrays.
        for azimuth, level in zip(azimuths, levels):
            before = min(bisect_right(known, level), len(known) - 1) - 1
            (x, y, half), (next_x, next_y, next_half) = course[before : before + 2]
            share = (level - known[before]) / (known[before + 1] - known[before])
            across = (half + share * (next_half - half)) * math.sin(azimuth)
            points.append(
                (
                    x + share * (next_x - x) + across * normal_x,
                    y + share * (next_y - y) + across * normal_y,
                )
            )
        self.figure.polygon(points, color)

    @cached_property
    def _course(self) -> tuple[list[float], list[list[float]]]:
        """Its levels, ascending, and the columns, rows and half widths there."""
        course = np.column_stack([self.levels, self.axis, self.half]).tolist()
        if course[0][0] > course[-1][0]:
            course.reverse()
        return [level for level, *_ in course], [place for _, *place in course]

    @cached_property
    def _surface(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The part of the canvas around it, and where its pixels are: across, -1..1 inside, and along in pixels."""
        canvas, corners = self.figure.canvas, self.outline()
        left, top = (max(0, math.floor(low)) for low in corners.min(0).tolist())
        right, bottom = (max(0, math.ceil(high) + 1) for high in corners.max(0).tolist())
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
        around = (around * np.float32(self.radius * scale)).astype(np.int32) & (TILE - 1)
        up = (along * np.float32(-scale / self.figure.height)).astype(np.int32) & (TILE - 1)
        share = tile.ravel().take(up * TILE + around) * (np.abs(across) <= 1)
        plain = region.astype(np.float32)
        second = cv2.subtract(np.array((*color, 0.0)), plain)
        second *= cv2.merge([share, share, share, np.zeros_like(share)])
        region[:] = plain + second

    def shade(self) -> None:
        """Darken it towards its outline, and more so away from the light."""
        region, across, _ = self._surface
        if not region.size:
            return
        factor = 1.05 + across * (0.7 * self.figure.pose.light - 0.26 * across)
        factor[np.abs(across) > 1] = 1.0
        factors = cv2.merge([factor, factor, factor, np.ones_like(factor)])
        cv2.multiply(region, factors, region, dtype=cv2.CV_8U)
