"""Re-identification without target labels, on mmengine."""

from .compat import install
from .version import __version__

install()

__all__ = ["__version__"]
