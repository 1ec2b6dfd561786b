"""Logged figures that never cost a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mmengine.logging import print_log
from mmengine.visualization import LocalVisBackend as _MmengineLocalVisBackend

from mmreid_uda.registry import VISBACKENDS

__all__ = ["LocalVisBackend"]


@VISBACKENDS.register_module()
class LocalVisBackend(_MmengineLocalVisBackend):
    """mmengine's files below ``vis_data``; one that cannot be written is said once, and training goes on.

    Curves can be drawn again from the log; hours of training cannot. Arguments are those of mmengine's class.
    """

    _said = False

    def add_config(self, config: Any, **kwargs: Any) -> None:
        """Record the config.

        Args:
            config: As in mmengine.
            **kwargs: As in mmengine.
        """
        self._try(super().add_config, config, **kwargs)

    def add_image(self, *args: Any, **kwargs: Any) -> None:
        """Record a picture.

        Args:
            *args: As in mmengine.
            **kwargs: As in mmengine.
        """
        self._try(super().add_image, *args, **kwargs)

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """Record a figure.

        Args:
            *args: As in mmengine.
            **kwargs: As in mmengine.
        """
        self._try(super().add_scalar, *args, **kwargs)

    def add_scalars(self, *args: Any, **kwargs: Any) -> None:
        """Record figures.

        Args:
            *args: As in mmengine.
            **kwargs: As in mmengine.
        """
        self._try(super().add_scalars, *args, **kwargs)

    def _try(self, write: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        try:
            write(*args, **kwargs)
        except OSError as error:
            if not self._said:
                print_log(
                    f"Figures cannot be written to {self._save_dir} ({error.strerror}): curves and pictures will lack "
                    "them, training goes on; make room.",
                    logger="current",
                    level=logging.WARNING,
                )
            self._said = True
