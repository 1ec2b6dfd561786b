"""The Runner of this package: mmengine's, with a stated answer to what goes wrong around the iterations."""

from __future__ import annotations

import copy
import errno
import inspect
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import MMLogger, print_log
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint_to_model as fill_what_fits
from mmengine.runner.runner import ConfigType
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from mmreid_uda import compat
from mmreid_uda.checkpoint import epoch_checkpoints
from mmreid_uda.config import finish_config
from mmreid_uda.config.required_hooks import complete_hooks
from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.weights import load_complete, load_tested
from mmreid_uda.registry import RUNNERS
from mmreid_uda.utils import (
    InputError,
    in_a_line,
    keep_freed_memory,
    loading_processes,
    num_cores,
    raised_here,
)
from mmreid_uda.utils.dist import noticing_lost_ranks, run_on_rank0
from mmreid_uda.utils.files import require_writable_folder
from mmreid_uda.utils.parallel import local_ranks
from mmreid_uda.utils.run_lock import RunLock
from mmreid_uda.utils.threads import describe_threads, settle_threads

from .extraction import unwrap
from .resume import (
    after_divergence,
    checkpoint_to_resume,
    other_settings,
    require_seed,
    settings_of,
)

__all__ = ["ReIDRunner"]

# Those that mmengine adds to whatever a config has, unless it sets them to None.
_OWN_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
# Longer records, such as the whole config, go to the log's file alone: the console is for figures.
_CONSOLE_LINES = 30
# Runs that this process began, by their second.
_begun: dict[str, int] = {}


@RUNNERS.register_module()
class ReIDRunner(Runner):
    """mmengine's Runner, whose answers to bad cases are those of the table in ``docs/robustness.md``.

    * The console shows what a run does; environment, config and order of hooks are in the log's file.
    * ``num_workers='auto'`` follows the machine, and 0 goes with ``persistent_workers=True``.
    * ``--resume`` finds the last checkpoint of a folder that was moved, wants it to fit to the last tensor, and says
      what is different from the run that wrote it. ``load_from`` wants all that is tested.
    * A checkpoint is refused when it holds NaN; a full disk, a lost process, a killed loading process, too little
      memory end in a sentence.

    Args:
        *args: As for mmengine's Runner.
        **kwargs: As for mmengine's Runner.
    """

    keeps_config: ClassVar[bool] = True
    """Whether the config is written to the work dir, as by a training."""
    lock: RunLock | None = None
    """The right to the work dir, held as long as this Runner lives."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        compat.install()
        super().__init__(*args, **kwargs)

    @classmethod
    def from_cfg(cls, cfg: ConfigType) -> ReIDRunner:
        """Build the Runner of a config, also where there is no GPU.

        There, ranks are joined without device ids, memory is not pinned, and what is freed is kept for the next step.
        A training has its work dir to itself as long as the Runner lives.

        Args:
            cfg: A config of :func:`load_config`; or as its file says, then the recipe and all checks are applied here.
                Without ``work_dir`` it is ``work_dirs/<name of the config>``.

        Returns:
            A Runner that can train or test.

        Raises:
            InputError: The work dir cannot be written, another run is at work there, or the checks, mmengine or a
                plug-in refuse what the config says.
        """
        cfg = copy.deepcopy(cfg) if isinstance(cfg, Config) else Config(cfg)
        launched = cfg.get("launcher", "none") != "none"
        finish_config(cfg, int(os.environ.get("WORLD_SIZE", 1)) if launched else 1)
        cfg.setdefault("work_dir", f"work_dirs/{Path(cfg.filename or 'run').stem}")
        locks: list[RunLock] = []

        def claim() -> None:
            require_writable_folder(cfg.work_dir)
            if cls.keeps_config and "train_cfg" in cfg:
                locks.append(RunLock(cfg.work_dir))

        run_on_rank0(claim)
        if cfg.get("randomness", {}).get("deterministic"):
            # cuBLAS reads it when its first product is computed; a value of the user's stays.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            cfg.env_cfg = dict(cfg.get("env_cfg", {}), cudnn_benchmark=False)
        if not torch.cuda.is_available():
            keep_freed_memory()
            for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
                if name in cfg:
                    cfg[name].pin_memory = False
        cfg.setdefault("model_wrapper_cfg", _wrapper(cfg))
        try:
            runner = super().from_cfg(cfg)
        except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError) or raised_here(error):
                raise
            raise InputError(
                f"a part of the config cannot be built ({type(error).__name__}: {in_a_line(error)}): correct that key."
            ) from error
        runner.lock = next(iter(locks), None)
        return runner

    # ---- log

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Keep long records off the console, and let a full disk cost lines of the log, not the run.

        Args:
            *args: As in mmengine.
            **kwargs: As in mmengine.

        Returns:
            The logger.
        """
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            handler.handleError = lambda record: None
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_short)
        return logger

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        super()._log_env(env_cfg)
        self.logger.info(describe_threads())
        self.logger.info(f"Environment, config and order of hooks: {self.logger.log_file}")

    # ---- hooks

    def register_hooks(
        self, default_hooks: dict[str, Any] | None = None, custom_hooks: list[Any] | None = None
    ) -> None:
        """Register the hooks of a config, those that the algorithm requires for training, and none that is ``None``.

        Args:
            default_hooks: Name -> hook, its config, or None.
            custom_hooks: As in mmengine.
        """
        if self._train_dataloader is not None:
            default_hooks = complete_hooks(default_hooks, type(unwrap(self.model)))
        kept = {
            name: hook
            for name, hook in (default_hooks or {}).items()
            if hook is not None or name in _OWN_HOOKS
        }
        super().register_hooks(kept, custom_hooks)

    # ---- processes and data

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Join the other processes, with threads as ``tools/dist_train.sh`` has them, and name the run by its second.

        Args:
            env_cfg: As in mmengine.
        """
        if self._distributed:
            # For what this process starts; its own threads were settled before torch was loaded.
            settle_threads(local_ranks())
        super().setup_env(env_cfg)
        # mmengine names logs and pictures by the second, and gives the second of two such runs those of the first.
        runs = _begun[self._timestamp] = _begun.get(self._timestamp, 0) + 1
        if runs > 1:
            self._timestamp += f"_{runs}"

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict[str, Any],
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader:
        """Build a loader whose number of processes is settled, and whose other keys fit it.

        Args:
            dataloader: A loader, or its config; ``num_workers`` is a number >= 0 or ``'auto'``.
            seed: As in mmengine.
            diff_rank_seed: As in mmengine.

        Returns:
            The loader.
        """
        if isinstance(dataloader, dict):
            dataloader = dict(dataloader)
            wanted = dataloader.get("num_workers", 0)
            dataloader["num_workers"] = number = loading_processes(wanted)
            if wanted != number or number > num_cores():
                print_log(
                    f"Loading processes: {number} per rank, for {num_cores()} cores (num_workers={wanted!r}).",
                    logger="current",
                )
            if number == 0:  # nothing persists or prefetches then
                for key in ("persistent_workers", "prefetch_factor", "timeout"):
                    dataloader.pop(key, None)
        loader = Runner.build_dataloader(dataloader, seed=seed, diff_rank_seed=diff_rank_seed)
        loader.worker_init_fn = partial(compat.start_worker, prepare=loader.worker_init_fn)
        return loader

    # ---- checkpoints

    def load_or_resume(self) -> None:
        """Go on from the last checkpoint of the work dir, or from the one that is named; or take its weights.

        Raises:
            InputError: The checkpoint cannot be read, or is of another model, optimiser, seed or list of images.
        """
        if self._has_loaded:
            return
        if not self._resume:
            if others := epoch_checkpoints(Path(self.work_dir)):
                self.logger.info(
                    f"The work dir already holds checkpoints of an earlier run, {others[0].name} the newest of "
                    f"{len(others)}: they are replaced as this run goes on; --resume would go on from them."
                )
            if self._load_from is not None:
                self.load_checkpoint(self._load_from)
            return
        found = checkpoint_to_resume(self.work_dir, self._load_from)
        if found is None:
            self.logger.info(
                f"There is no checkpoint in {self.work_dir} to go on from: starting at epoch 1."
            )
            return
        self.logger.info(f"Going on from {found}.")
        try:
            self.resume(str(found), resume_param_scheduler=bool(self.param_schedulers))
            self._require_own_settings()
        except (KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{found} was written with another optimiser or schedule ({type(error).__name__}: {error}), expected "
                "that of this config: resume with the config of the run, or take its weights with load_from."
            ) from error

    def _require_own_settings(self) -> None:
        """PyTorch puts the settings of any optimizer in place of another's, which fails at the first step only.

        Raises:
            KeyError: For a setting that the optimizer reads and the checkpoint lacks.
        """
        wrapper: Any = self.optim_wrapper
        for one in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            for group in one.optimizer.param_groups:
                if missing := sorted(set(one.optimizer.defaults) - set(group)):
                    raise KeyError(missing[0])

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable[..., Any] = "cpu",
        strict: bool = False,
        revise_keys: Any = ((r"^module\.", ""),),
    ) -> dict[str, Any]:
        """Load weights that fit.

        Args:
            filename: File, folder of a run, or address.
            map_location: See ``torch.load``.
            strict: For models of other packages: see mmengine.
            revise_keys: For models of other packages: see mmengine.

        Returns:
            The checkpoint.

        Raises:
            InputError: Not all tensors are there: when going on, of the model; else, of what is tested.
        """
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location, logger="silent")
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = unwrap(self.model)
        if self._resume:
            hint = "resume with the config of the run, or take its weights with load_from."
            load_complete(model, filename, hint, checkpoint)
            self._compare(filename, checkpoint.get("meta") or {})
        elif isinstance(model, BaseReID):
            load_tested(model, filename, checkpoint)
        else:
            fill_what_fits(model, checkpoint, strict, revise_keys=list(revise_keys))
        self._has_loaded = True
        self.logger.info(f"Loaded {filename}.")
        return checkpoint

    def _compare(self, filename: str, meta: dict[str, Any]) -> None:
        """Refuse other data or another seed than those of the run that wrote a checkpoint; say what else differs."""
        require_seed(filename, meta, self.seed)
        images, now = meta.get("images"), self._images()
        if images is not None and images != now:
            raise InputError(
                f"{filename} was trained on another list of images than the one found now: resume with the same data, "
                "or start anew with load_from instead of --resume."
            )
        if lines := other_settings(self, meta):
            self.logger.info("Different from the run that wrote it:\n  " + "\n  ".join(lines))

    def _images(self) -> str | None:
        return getattr(self.train_dataloader.dataset, "fingerprint", None)

    def save_checkpoint(
        self, *args: Any, meta: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Save with what a resumed run compares.

        Args:
            *args: As in mmengine.
            meta: What else is noted. Defaults to nothing.
            **kwargs: As in mmengine.

        Raises:
            InputError: On rank 0: weights are not finite, or there is no room; what to do is said.
        """
        meta = dict(
            meta or {},
            world_size=get_world_size(),
            settings=settings_of(self.cfg),
            images=self._images(),
        )
        try:
            super().save_checkpoint(*args, meta=meta, **kwargs)
        except InputError as error:
            said = str(error).rstrip(".")
            if "diverged" in said:
                raise InputError(f"{said}; {after_divergence(self)}") from error
            raise InputError(
                f"{said}; checkpoints of earlier epochs are kept: make room, or keep fewer with "
                "default_hooks.checkpoint.max_keep_ckpts, then go on with --resume."
            ) from error

    # ---- what ends a run

    def train(self) -> nn.Module:
        """Train; what is known to end a run is said in a sentence.

        Returns:
            The model, trained.
        """
        with _known_failures():
            return super().train()

    def test(self) -> dict[str, float]:
        """Test; what is known to end a run is said in a sentence.

        Returns:
            Metrics by name, such as ``market1501/mAP``.
        """
        with _known_failures():
            return super().test()


def _is_short(record: logging.LogRecord) -> bool:
    return record.getMessage().count("\n") <= _CONSOLE_LINES


@contextmanager
def _known_failures() -> Iterator[None]:
    """Say in a sentence what failed outside the program: memory, loading processes, other ranks, the disk.

    Raises:
        InputError: Instead of the error.
    """
    try:
        with noticing_lost_ranks("training or testing"):
            yield
    except (RuntimeError, MemoryError, OSError) as error:
        if "killed by signal: Terminated" in str(error):
            # Somebody stops all processes: our own signal is on its way, and is what is to be told.
            time.sleep(1)
        said = _sentence(error)
        if said is None:
            raise
        raise InputError(said) from error


def _sentence(error: BaseException) -> str | None:
    """What to do about a known failure; None for any other."""
    text = str(error)
    if (
        isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))
        or "can't allocate memory" in text
    ):
        reason = text.partition("\n")[0].rstrip(".") or "of the machine"
        return (
            f"rank {get_rank()} ran out of memory ({reason}): lower global_batch_size or "
            "relabel.batch_size, add --amp, or take more processes; then go on with --resume."
        )
    if "DataLoader worker" in text:
        reason = re.sub(r"\s+", " ", text).split(". ")[0].rstrip(".")
        return (
            f"a loading process has ended ({reason}), mostly for lack of memory, or of shared memory in a container "
            "(docker run --shm-size=8g): lower train_dataloader.num_workers, then go on with --resume."
        )
    if "Expected to have finished reduction" in text:
        return (
            "some parameters took no part in the loss, which several processes must know of: set "
            "find_unused_parameters=True at the top level of the config."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        place = error.filename or "a file of the run"
        return f"{place} cannot be written ({error.strerror}): make room, then go on with --resume."
    return None


def _wrapper(cfg: Config) -> dict[str, Any]:
    """The config of DistributedDataParallel: buffers are shared once per epoch, by the consistency hook."""
    names = inspect.signature(DistributedDataParallel.__init__).parameters
    # The newer name of what it otherwise warns of.
    sync = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
    return {
        "type": "MMDistributedDataParallel",
        "device_ids": [int(os.environ.get("LOCAL_RANK", 0))] if torch.cuda.is_available() else None,
        sync: False,
        "find_unused_parameters": cfg.get("find_unused_parameters", False),
    }
