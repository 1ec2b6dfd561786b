"""The model of a server: one forward pass at a time, for all who wait."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Embedder"]


@dataclass
class _Request:
    """Images of one client, and what becomes of them."""

    images: list[np.ndarray]
    features: np.ndarray | None = None
    error: Exception | None = None


class Embedder:
    """Features of images that come from several threads.

    While one forward pass is running, the images of other clients gather; whoever comes first takes all of them into
    the next one.

    Args:
        inferencer: With ``extract`` and ``fingerprint``, a :class:`~mmreid_uda.apis.ReIDInferencer`.
    """

    def __init__(self, inferencer: Any) -> None:
        self.inferencer = inferencer
        self.fingerprint: str = inferencer.fingerprint
        self._waiting: list[_Request] = []
        self._running, self._gathering = threading.Lock(), threading.Lock()

    @property
    def decoder(self) -> str:
        """``imdecode_backend`` of the model's pipeline, which uploads are decoded with, too."""
        steps = self.inferencer.cfg.test_pipeline
        loading = [one for one in steps if one["type"] == "LoadReIDImage"]
        return loading[0].get("imdecode_backend", "cv2") if loading else "cv2"

    def extract(self, images: list[np.ndarray]) -> np.ndarray:
        """Compute features.

        Args:
            images: uint8 (H, W, 3), BGR.

        Returns:
            float32 (N, D), unit rows.

        Raises:
            InputError: The features are not finite.
        """
        own = _Request(images)
        with self._gathering:
            self._waiting.append(own)
        with self._running:
            with self._gathering:
                together, self._waiting = self._waiting, []
            if together:
                self._compute(together)
        if own.error is not None:
            raise own.error
        assert own.features is not None
        return own.features

    def _compute(self, together: list[_Request]) -> None:
        """Give each request its rows, or the error that all of them met."""
        try:
            features = self.inferencer.extract([one for each in together for one in each.images])
        except Exception as error:
            for each in together:
                each.error = error
            return
        ends = np.cumsum([len(each.images) for each in together])[:-1]
        for each, rows in zip(together, np.split(features, ends)):
            each.features = rows
