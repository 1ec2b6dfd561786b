"""``mmreid serve``: the page and the HTTP API of a gallery and a run. Needs ``pip install mmreid_uda[serve]``."""

from .app import create_app
from .settings import Limits, ServerSettings

__all__ = ["Limits", "ServerSettings", "create_app"]
