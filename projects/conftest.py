"""Projects are tested with the fixtures that the package is tested with."""

from tests.conftest import data_root, run_ranks, run_tool, tiny, write_tiny

__all__ = ["data_root", "run_ranks", "run_tool", "tiny", "write_tiny"]
