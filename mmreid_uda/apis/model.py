"""A trained model by the name of its config, and the fingerprint that its features carry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmreid_uda.config import load_config, read_pretrained_config
from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.weights import COUNTERS, load_tested
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import is_pretrained

__all__ = ["init_model", "model_fingerprint"]


def init_model(
    config: str | Path,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    options: dict[str, Any] | None = None,
) -> BaseReID:
    """Build a model, load what is tested of it, and put it in evaluation mode.

    Args:
        config: Path or name of a config, see :func:`~mmreid_uda.config.find_model`; or a folder of ``mmreid export
            --to pretrained``, which has its weights, too.
        checkpoint: File, folder of a run (its last checkpoint), or URL; also one of ``tools/deploy/publish_model.py``.
            ``None`` takes the config's initial weights, such as ImageNet's.
        device: Where the model computes; ``None`` takes a GPU if there is one.
        options: Dotted keys -> values merged into the config, as ``--cfg-options`` does.

    Returns:
        The algorithm; its attribute ``cfg`` is the config.

    Raises:
        InputError: For a config or checkpoint that is missing, or does not fit.

    Example:
        >>> model = init_model('ise_r50_market', 'work_dirs/ise_r50_market', device='cuda:0')
    """
    if is_pretrained(config):
        return _on(_pretrained(config, checkpoint, options), device)
    cfg = load_config(config, options)
    if "test_pipeline" not in cfg:
        raise InputError(
            f"the config {str(config)!r} has loaders of its own and no test_pipeline; use tools/test.py."
        )
    model = MODELS.build(cfg.model)
    if checkpoint is None:
        with quiet_log():
            model.init_weights()
    else:
        load_tested(model, str(checkpoint))
    model.cfg = cfg
    return _on(model, device)


def _pretrained(
    folder: str | Path, checkpoint: str | Path | None, options: dict[str, Any] | None
) -> BaseReID:
    """The model of a folder of weights, which are those that its config was written with."""
    if options or (checkpoint is not None and Path(checkpoint) != Path(folder)):
        found = f"the options {', '.join(options)}" if options else f"the checkpoint '{checkpoint}'"
        raise InputError(
            f"found {found} beside '{folder}', expected nothing: that folder has its weights and its config, as they "
            "are; to change them give the config that it was exported with."
        )
    cfg = read_pretrained_config(folder)
    model = MODELS.build(cfg.model)
    load_tested(model, str(folder))
    model.cfg = cfg
    if model_fingerprint(model, cfg) != cfg.fingerprint:
        raise InputError(
            f"weights and preprocessing of '{folder}' have not the fingerprint that its config.json says, "
            f"{cfg.fingerprint[:12]}: a file was changed or cut short; copy the folder again."
        )
    return model


def _on(model: BaseReID, device: str | torch.device | None) -> BaseReID:
    """The model in evaluation mode on a device; None takes a GPU if there is one."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InputError(
            f"the device {str(device)!r} cannot be used ({reason}); give device='cpu', or one that PyTorch sees."
        ) from error


@contextmanager
def quiet_log() -> Iterator[None]:
    """Hold back lines that nobody has asked for, such as mmengine's for every tensor that it initialises.

    Yields:
        Nothing.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def model_fingerprint(model: BaseReID, cfg: Config) -> str:
    """Hash of all that features depend on: the way from a file to the network's input, the network, tested weights.

    A training checkpoint, the published one, and the exported graph have the same. Features of two fingerprints must
    not be compared.

    Args:
        model: With its weights.
        cfg: Its config, whose ``test_pipeline`` and encoder are part of the hash; where the encoder's training started
            from (``init_cfg``) is not.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    preprocessor = model.data_preprocessor
    encoders = _without_origin(cfg.model.get("encoder"))
    if isinstance(encoders, list) and encoders[1:] == encoders[:-1]:
        encoders = encoders[0]  # one for each run of stage 1, alike but for the run
    way = dict(
        encoder=encoders,
        pipeline=[dict(step) for step in cfg.test_pipeline],
        mean=preprocessor.mean.flatten().tolist(),
        std=preprocessor.std.flatten().tolist(),
        bgr_to_rgb=preprocessor.bgr_to_rgb,
        flip=model.flip,
        feature=model.feature,
    )
    digest = hashlib.sha256(json.dumps(way, sort_keys=True, default=str).encode())
    for number, encoder in enumerate(model.tested_encoders()):
        for name, tensor in sorted(encoder.state_dict().items()):
            if not name.endswith(COUNTERS):
                digest.update(f"{number}.{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _without_origin(config: Any) -> Any:
    """A copy of an encoder's config, or of a list of them, without any ``init_cfg``."""
    if isinstance(config, dict):
        return {key: _without_origin(value) for key, value in config.items() if key != "init_cfg"}
    if isinstance(config, (list, tuple)):
        return [_without_origin(value) for value in config]
    return config
