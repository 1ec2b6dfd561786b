"""The size of a classifier of labelled sources."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils import InputError

from ..extraction import unwrap
from ..optim import fit_moments

__all__ = ["SourceClassesHook"]


@HOOKS.register_module()
class SourceClassesHook(Hook):
    """Tell the model, before training, how many identities its sources have (``model.on_source``).

    Example:
        >>> default_hooks = dict(source_classes=dict(type='SourceClassesHook'))
    """

    def before_train(self, runner: Runner) -> None:
        """Count the identities of all sources together.

        Raises:
            InputError: If there is no labelled source.
        """
        dataset = runner.train_dataloader.dataset
        if not dataset.num_source_pids:
            raise InputError(
                "found no labelled source to train on: set `source` in the config, for instance source='dukemtmc'."
            )
        model = unwrap(runner.model)
        model.on_source(dataset.num_source_pids, runner.seed)
        fit_moments(runner.optim_wrapper.optimizer, model)
