"""A model as a folder in the layout of the Hugging Face hub: weights in safetensors, and all else in JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmreid_uda.config import plain_config
from mmreid_uda.models.weights import tested_state
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import PRETRAINED_FILES, atomic_path, write_json
from mmreid_uda.utils.packages import import_package
from mmreid_uda.version import __version__

from .deploy import describe_input
from .model import model_fingerprint

__all__ = ["export_pretrained"]


def export_pretrained(model: Any, folder: str | Path) -> Path:
    """Write a folder that :meth:`ReIDInferencer.from_pretrained` reads, and that can be put on a hub as it is.

    ``model.safetensors`` has the tested weights under their names in the model, and no pickle; ``config.json`` has the
    class, the fingerprint, what happens to an image, and network and test pipeline in plain values.

    Args:
        model: A model of :func:`~mmreid_uda.apis.init_model`.
        folder: Where to; made if it is not there.

    Returns:
        Path of ``config.json``.

    Raises:
        InputError: The package safetensors is missing, the files cannot be written, or the config has what JSON cannot
            hold.
    """
    safetensors = import_package("safetensors.torch", "the export", "safetensors")
    folder, cfg = Path(folder), model.cfg
    plain = plain_config(cfg)
    preprocessor = model.data_preprocessor
    try:
        resizing: dict[str, Any] = describe_input(cfg.test_pipeline)
    except InputError:  # a pipeline of other steps, which the config has all the same
        resizing = {}
    content = {
        "architectures": [type(model).__name__],
        "model_type": "mmreid_uda",
        "mmreid_uda_version": __version__,
        "config_name": Path(cfg.filename).stem,
        "fingerprint": model_fingerprint(model, cfg),
        "preprocessing": {
            **resizing,
            "colour": "RGB" if preprocessor.bgr_to_rgb else "BGR",
            "mean": preprocessor.mean.flatten().tolist(),
            "std": preprocessor.std.flatten().tolist(),
        },
        "mmreid_uda": plain,
    }
    # Copied, since layers may share a storage, which safetensors refuses.
    state = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in tested_state(model).items()
    }
    # The config last: without it the folder is none, if writing is cut short.
    name, weights = PRETRAINED_FILES
    with atomic_path(folder / weights) as temporary:
        temporary.write_bytes(safetensors.save(state, {"format": "pt"}))
    write_json(folder / name, content)
    return folder / name
