"""What tests of checkpoints share: reading by address, and a file that would run code."""

import os

from mmengine.runner.checkpoint import CheckpointLoader

from mmreid_uda import compat


def load(path):
    compat.install()  # whose loaders are meant
    return CheckpointLoader.load_checkpoint(str(path), map_location="cpu", logger="silent")


class Evil:
    """Runs a shell command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)
