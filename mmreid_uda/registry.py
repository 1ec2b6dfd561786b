"""Registries: children of mmengine's, filled lazily from the modules named in ``locations``.

The constructor of a class that is registered here, in this package or in one's own, holds its arguments against their
annotations (:mod:`mmreid_uda.utils.values`), so that no class has to check what its declaration says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from mmengine import registry as mmengine_registries

from mmreid_uda.utils import InputError, place_of
from mmreid_uda.utils.values import checked, closest, shortened

__all__ = [
    "CLUSTERERS",
    "DATASETS",
    "DATA_SAMPLERS",
    "EVALUATOR",
    "FUNCTIONS",
    "HOOKS",
    "LOG_PROCESSORS",
    "LOOPS",
    "METRICS",
    "MODELS",
    "MODEL_WRAPPERS",
    "OPTIMIZERS",
    "OPTIM_WRAPPERS",
    "OPTIM_WRAPPER_CONSTRUCTORS",
    "PARAM_SCHEDULERS",
    "REFINERS",
    "RUNNERS",
    "TRANSFORMS",
    "VISBACKENDS",
    "VISUALIZERS",
    "WEIGHT_INITIALIZERS",
]

# What constructors that do not declare what they take raise for a wrong value.
_REFUSALS = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError)


class Registry(mmengine_registries.Registry):
    """A registry whose classes check the arguments they are built with, and that says what it does not know."""

    def _lineage(self) -> Iterator[mmengine_registries.Registry]:
        """This registry and its parents, filled."""
        registry: mmengine_registries.Registry | None = self
        while registry is not None:
            registry.import_from_location()
            yield registry
            registry = registry.parent

    def find(self, name: str) -> Any:
        """What this registry or a parent has under a name, or another package; unlike ``resolve``, without a complaint.

        Args:
            name: With or without this package's scope; of another package with its own, such as ``mmpretrain.ResNet``.

        Returns:
            A class or function; None if there is none.
        """
        name = name.removeprefix(f"{self.scope}.")
        if "." in name:
            return self.get(name)
        return next(
            (one.module_dict[name] for one in self._lineage() if name in one.module_dict), None
        )

    def names(self) -> set[str]:
        """All names, those of the parents among them.

        Returns:
            Names without scope.
        """
        return set().union(*(one.module_dict for one in self._lineage()))

    def resolve(self, kind: Any) -> Any:
        """What a ``type`` stands for.

        Args:
            kind: A name, as for :meth:`find`; or the class or function itself.

        Returns:
            The class or function.

        Raises:
            InputError: There is none of this name.
        """
        if not isinstance(kind, str):
            return kind
        found = self.find(kind)
        if found is not None:
            return found
        package = kind.rpartition(".")[0]
        if not package or package == self.scope:
            raise InputError(
                f"found type={kind!r} for a {self.name}, expected {closest(kind, self.names())}; for a class of your "
                "own add its module to custom_imports."
            )
        try:
            reason = f"{import_module(package).__name__} has none of that name"
        except ImportError as error:
            reason = f"import of {package} failed: {error}"
        raise InputError(
            f"found type={kind!r} for a {self.name} ({reason}), expected a class there is: change type, or run `pip "
            f"install {package}`."
        )

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """Build what a ``dict(type=..., ...)`` describes.

        Args:
            cfg: The dict, as in mmengine.
            *args: As in mmengine.
            **kwargs: As in mmengine.

        Returns:
            What the class or function gives.

        Raises:
            InputError: It names no class, or none that there is, or has arguments that the class refuses.
        """
        from mmreid_uda.compat import install

        install()
        defaults = kwargs.get("default_args") or {}
        kind = cfg.get("type", defaults.get("type")) if isinstance(cfg, Mapping) else cfg
        if kind is None or isinstance(kind, (bool, int, float)):
            raise InputError(
                f"found {shortened(cfg)} for a {self.name}, expected dict(type=..., ...) with the name of its class."
            )
        self.resolve(kind)
        try:
            return super().build(cfg, *args, **kwargs)
        except InputError:
            raise
        except _REFUSALS as error:
            name = getattr(kind, "__name__", kind)
            raise InputError(
                f"found options that the {self.name} {name!r} refuses ({type(error).__name__} at {place_of(error)}: "
                f"{' '.join(str(error).split())}): correct them."
            ) from error

    def _register_module(self, module: Any, *args: Any, **kwargs: Any) -> None:
        super()._register_module(
            checked(module) if isinstance(module, type) else module, *args, **kwargs
        )


# Datasets of images, and the wrappers that join domains or test sets.
DATASETS = Registry(
    "dataset", parent=mmengine_registries.DATASETS, locations=["mmreid_uda.datasets"]
)
# Samplers and batch samplers: identity-balanced, several domains.
DATA_SAMPLERS = Registry(
    "data sampler",
    parent=mmengine_registries.DATA_SAMPLERS,
    locations=["mmreid_uda.datasets.samplers"],
)
# Image transforms of the loading pipeline.
TRANSFORMS = Registry(
    "transform", parent=mmengine_registries.TRANSFORMS, locations=["mmreid_uda.datasets.transforms"]
)
# Collate functions.
FUNCTIONS = Registry(
    "function", parent=mmengine_registries.FUNCTIONS, locations=["mmreid_uda.datasets.transforms"]
)
# Algorithms, encoders, backbones, necks, heads, memories, losses and the data preprocessor.
MODELS = Registry("model", parent=mmengine_registries.MODELS, locations=["mmreid_uda.models"])
# Features in, labels out.
CLUSTERERS = Registry("clusterer", locations=["mmreid_uda.clustering"])
# Labels in, better labels out.
REFINERS = Registry("refiner", locations=["mmreid_uda.clustering"])
# Hooks: clustering, teachers, schedules, consistency.
HOOKS = Registry("hook", parent=mmengine_registries.HOOKS, locations=["mmreid_uda.engine"])
# Optimiser wrappers: mixed precision that also runs on the CPU.
OPTIM_WRAPPERS = Registry(
    "optim_wrapper", parent=mmengine_registries.OPTIM_WRAPPERS, locations=["mmreid_uda.engine"]
)
# What makes an optimiser's groups of parameters: layer-wise learning rates.
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    "optimizer wrapper constructor",
    parent=mmengine_registries.OPTIM_WRAPPER_CONSTRUCTORS,
    locations=["mmreid_uda.engine"],
)
# Runners; built by mmengine's own rule, which looks at `runner_type`.
RUNNERS = mmengine_registries.Registry(
    "runner",
    parent=mmengine_registries.RUNNERS,
    scope="mmreid_uda",
    locations=["mmreid_uda.engine"],
)
# Evaluation metrics.
METRICS = Registry(
    "metric", parent=mmengine_registries.METRICS, locations=["mmreid_uda.evaluation"]
)
# Weights from files, in place of mmengine's initializer of that name.
WEIGHT_INITIALIZERS = Registry(
    "weight initializer",
    parent=mmengine_registries.WEIGHT_INITIALIZERS,
    locations=["mmreid_uda.models"],
)
# Where logged figures go.
VISBACKENDS = Registry(
    "vis_backend", parent=mmengine_registries.VISBACKENDS, locations=["mmreid_uda.engine"]
)


def _room_for_others(name: str) -> Registry:
    """A registry that holds nothing of this package's: a config's names are looked for here first, then in mmengine's.

    Without it mmengine warns at every start that the scope was not found.
    """
    parent = getattr(mmengine_registries, name)
    return Registry(parent.name, parent=parent, scope="mmreid_uda")


EVALUATOR = _room_for_others("EVALUATOR")
LOG_PROCESSORS = _room_for_others("LOG_PROCESSORS")
LOOPS = _room_for_others("LOOPS")
MODEL_WRAPPERS = _room_for_others("MODEL_WRAPPERS")
OPTIMIZERS = _room_for_others("OPTIMIZERS")
PARAM_SCHEDULERS = _room_for_others("PARAM_SCHEDULERS")
VISUALIZERS = _room_for_others("VISUALIZERS")
