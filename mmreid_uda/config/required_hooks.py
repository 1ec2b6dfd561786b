"""The hooks that a method cannot do without: its class names them, a config only overrides them."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import Config, ConfigDict

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

__all__ = ["add_required_hooks", "complete_hooks", "required_hooks"]

# Set in a class's declaration: a config may switch the hook off.
_OPTIONAL = "optional"


def required_hooks(algorithm: Any) -> dict[str, dict[str, Any]]:
    """What a class and its parents declare in ``required_hooks``, merged like configs.

    Args:
        algorithm: A class, or anything else, which requires none.

    Returns:
        Name -> config of the hook, in the order of the declarations, parents first.
    """
    merged: Any = {}
    for base in reversed(getattr(algorithm, "__mro__", ())):
        declared = copy.deepcopy(vars(base).get("required_hooks", {}))
        merged = Config._merge_a_into_b(declared, merged)
    return {name: hook for name, hook in merged.items() if hook is not None}


def complete_hooks(hooks: dict[str, Any] | None, algorithm: Any) -> dict[str, Any]:
    """Put the hooks that a class requires under those of a config; doing it again changes nothing.

    Args:
        hooks: ``default_hooks`` of a config: name -> config, hook, or None, which is to be off.
        algorithm: The class of the model.

    Returns:
        The required hooks in the order of their declaration, whatever single keys the config has of them; then the
        others. Hooks of one priority are called in this order.

    Raises:
        InputError: One that must not is switched off.
    """
    others, completed = dict(hooks or {}), {}
    for name, hook in required_hooks(algorithm).items():
        optional, own = hook.pop(_OPTIONAL, False), others.pop(name, {})
        if own is None and not optional:
            raise InputError(
                f"found default_hooks.{name}=None, but {algorithm.__name__} cannot train without its {hook['type']}: "
                f"remove the key, or change single ones such as default_hooks.{name}.priority."
            )
        if isinstance(own, dict):
            whole = {name: ConfigDict(hook)}
            own = Config._merge_a_into_b({name: copy.deepcopy(own)}, whole)[name]
        completed[name] = own
    return {**completed, **others}


def add_required_hooks(cfg: Config) -> None:
    """Complete ``default_hooks`` of a config that trains by what the class of ``cfg.model`` requires.

    Args:
        cfg: Changed in place; one that does not train is left as it is.

    Raises:
        InputError: One that must not is switched off.
    """
    if not cfg.get("train_dataloader"):
        return
    kind: Any = (cfg.get("model") or {}).get("type")
    algorithm = MODELS.find(kind) if isinstance(kind, str) else kind
    cfg.default_hooks = complete_hooks(cfg.get("default_hooks"), algorithm)
