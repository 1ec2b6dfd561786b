"""A hook for tests: end the process after an epoch's checkpoint, as a power cut would."""

from mmengine.hooks import Hook

from mmreid_uda.registry import HOOKS


@HOOKS.register_module(force=True)
class StopAfterEpoch(Hook):
    priority = "LOWEST"

    def __init__(self, epoch):
        self.epoch = epoch

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            raise RuntimeError(f"stopped after epoch {self.epoch}")
