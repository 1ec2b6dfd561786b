"""Checkpoints that are whole, finite, and never fewer than before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook as _MmengineCheckpointHook
from mmengine.runner import Runner

from mmreid_uda.registry import HOOKS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import run_on_rank0
from mmreid_uda.utils.files import atomic_path

__all__ = ["CheckpointHook"]


@HOOKS.register_module()
class CheckpointHook(_MmengineCheckpointHook):
    """mmengine's hook, made safe against full disks, kills and moved folders.

    * An old checkpoint, also an old best one, is removed after the new one is there.
    * The note ``last_checkpoint`` and the best checkpoint are known relative to the work dir, which may be moved.
    * An error of rank 0, which writes, is raised on every rank.

    The file itself is written by :func:`mmreid_uda.checkpoint.write_checkpoint`, and read again by
    :mod:`mmreid_uda.engine.resume`. Arguments are those of mmengine's hook.

    Example:
        >>> default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2))
    """

    def before_train(self, runner: Runner) -> None:
        """Choose the folder, and look for the best checkpoint of a resumed run in it."""
        self.out_dir: Any
        if self.out_dir is None:
            self.out_dir = runner.work_dir
        elif Path(self.out_dir) != Path(runner.work_dir):
            self.out_dir = str(Path(self.out_dir, Path(runner.work_dir).name))
        self.file_backend = get_file_backend(self.out_dir, backend_args=self.backend_args)
        self.file_client_args = None  # what it is for warns that it is deprecated
        runner.logger.info(f"Checkpoints will be saved to {self.out_dir}.")
        info = runner.message_hub.runtime_info
        for name in [key for key in info if key.startswith("best_ckpt")]:
            if info[name]:
                runner.message_hub.update_info(name, str(Path(self.out_dir, Path(info[name]).name)))
        if self.save_best is not None:
            self._require_metrics(getattr(runner.val_loop, "dataloader", None))
            if runner.val_loop is None and self.key_indicators != ["auto"]:
                runner.logger.warning(
                    f"default_hooks.checkpoint.save_best: {', '.join(map(repr, self.key_indicators))} is kept of no "
                    "evaluation, as there is no test set: name a dataset in `test`, or take the last checkpoint."
                )
            if len(self.key_indicators) == 1:
                self.best_ckpt_path = info.get("best_ckpt")
            else:
                self.best_ckpt_path_dict = {
                    key: info.get(f"best_ckpt_{key}") for key in self.key_indicators
                }

    def _require_metrics(self, loader: Any) -> None:
        """Refuse, before the training, to wait for a figure of none of the test sets.

        Raises:
            InputError: ``save_best`` begins with the name of none.
        """
        names: Sequence[str] = getattr(getattr(loader, "dataset", None), "set_names", ())
        for key in self.key_indicators if names else ():
            if key != "auto" and not any(f"{name}/" in key for name in names):
                raise InputError(
                    f"found default_hooks.checkpoint.save_best={key!r}, expected 'auto' or the name of a figure such "
                    f"as '{names[0]}/mAP': change save_best."
                )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        """Write, note, and only then remove what is one too many."""
        hub = runner.message_hub
        kept = [*hub.runtime_info.get("keep_ckpt_ids", [])]
        if step not in kept:
            kept.append(step)
        keep = self.max_keep_ckpts if self.max_keep_ckpts > 0 else len(kept)
        hub.update_info("keep_ckpt_ids", kept[-keep:])
        self.last_ckpt: Any = str(Path(self.out_dir, self.filename_tmpl.format(step)))
        hub.update_info("last_ckpt", self.last_ckpt)

        def write() -> None:
            runner.save_checkpoint(
                self.out_dir,
                Path(self.last_ckpt).name,
                save_optimizer=self.save_optimizer,
                # mmengine would warn of a schedule that the config has not.
                save_param_scheduler=self.save_param_scheduler and bool(runner.param_schedulers),
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            with atomic_path(Path(runner.work_dir, "last_checkpoint")) as note:
                note.write_text(os.path.relpath(self.last_ckpt, runner.work_dir))
            for old in kept[:-keep]:
                Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)

        run_on_rank0(write)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Save as mmengine does, without its removal of the old best one before the new one is written."""
        wanted = self.key_indicators if self.save_best else ()
        missing = [key for key in wanted if key not in ("auto", *metrics)]
        if missing:
            raise InputError(
                f"found default_hooks.checkpoint.save_best={missing[0]!r}, expected 'auto' or one of "
                f"{', '.join(map(repr, metrics))}: change save_best, then go on with --resume."
            )
        before = self._best()
        # mmengine removes what it knows as the best so far: it is told of none.
        for key in before:
            self._set_best(key, None)
        super()._save_best_checkpoint(runner, metrics)
        after = self._best()
        for key, old in before.items():
            if after.get(key) is None:
                self._set_best(key, old)
            elif old and old != after[key] and is_main_process():
                Path(old).unlink(missing_ok=True)

    def _best(self) -> dict[str, str | None]:
        """Name of the metric -> best checkpoint so far."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            return {"": self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best(self, key: str, path: str | None) -> None:
        if key:
            self.best_ckpt_path_dict[key] = path
        else:
            self.best_ckpt_path = path
