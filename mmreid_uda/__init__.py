"""Re-identification without target labels, on mmengine."""

from . import compat
from .version import __version__

compat.install()

__all__ = ["__version__"]
