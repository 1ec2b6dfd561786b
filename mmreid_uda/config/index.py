"""Which configs there are: files, and entries of ``model-index.yml``, which change a few keys of a file.

An entry of a ``metafile.yml`` has ``Name`` and ``Config``; a published variant has ``Overrides``, too, dotted keys as
``--cfg-options`` takes them. Both kinds of names, and those of other pairs of datasets
(``mmt-dbscan_r50_msmt2market``), stand for a config wherever one is asked for.
"""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mmreid_uda.checkpoint import RENDERED, start_card
from mmreid_uda.datasets import DATASET_CATALOG, short_name
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import repository

__all__ = ["Model", "config_roots", "find_model", "model_index", "named_model"]

_CONFIG_PATTERNS = ("configs/*/*.py", "projects/**/configs/*.py")


class Model(NamedTuple):
    """A config by its name."""

    name: str
    file: Path
    overrides: dict[str, Any]
    """Dotted keys -> values in place of the file's."""
    results: list[dict[str, Any]]
    """Figures: ``Dataset``, ``Metrics`` and their ``Origin``."""


def config_roots() -> list[Path]:
    """Folders with ``configs/``, ``projects/`` and ``model-index.yml``: ours, and the working folder, which wins.

    Returns:
        Two folders, the one that wins last.
    """
    return [repository(), Path()]


def _files() -> dict[str, Path]:
    return {
        file.stem: file
        for root in config_roots()
        for pattern in _CONFIG_PATTERNS
        for file in root.glob(pattern)
        if file.parent.name != "_base_"
    }


@cache
def _entries(path: Path, key: str) -> list[Any]:
    """What a file of the index lists under a key; nothing, if it is of another kind."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read as the index of models ({reason}): mend or remove it."
        ) from error
    return (content.get(key) or []) if isinstance(content, dict) else []


def model_index() -> dict[str, Model]:
    """Every config there is: the entries of the model index, and files that it does not name.

    Returns:
        Name -> model.

    Raises:
        InputError: A file of the index cannot be read.
    """
    models = {name: Model(name, file, {}, []) for name, file in _files().items()}
    for root in map(Path.resolve, config_roots()):
        index = root / "model-index.yml"
        for metafile in _entries(index, "Import") if index.is_file() else ():
            for entry in _entries(root / metafile, "Models"):
                if not {"Name", "Config"} <= {*entry}:  # of another project
                    continue
                models[entry["Name"]] = Model(
                    entry["Name"],
                    root / entry["Config"],
                    entry.get("Overrides", {}),
                    entry.get("Results", []),
                )
    return models


def find_model(name: str | Path) -> Model:
    """Find a config by its path, or by a name.

    Args:
        name: ``'configs/ise/ise_r50_market.py'``; ``'ise_r50_market'``, the name of a file; ``'ise-pli_r50_market'``,
            that of an entry of the model index; one of these with another pair of datasets, such as
            ``'mmt-dbscan_r50_msmt2market'``; or ``'rendered://mobilenet_v2'``, the config of shipped weights, whose
            encoder starts from them.

    Returns:
        Its file and the keys that differ.

    Raises:
        InputError: There is no such file, or config of that name; the sentence has the nearest names.
    """
    if str(name).startswith(RENDERED):
        model = find_model(start_card(str(name))["config"])
        return model._replace(overrides={**model.overrides, "stage1": str(name)})
    path = Path(name)
    stem = path.name.removesuffix(".py")
    found = None
    if (
        not path.is_file() and len(path.parts) == 1
    ):  # a run's folder may have the name of its config
        found = named_model(stem)
    if found is None and path.exists():
        return Model(path.stem, path, {}, [])
    if found is None:
        models = model_index()
        near = difflib.get_close_matches(stem, models, n=3) or ["ise_r50_market"]
        raise InputError(
            f"found no config file {str(name)!r}, and none of that name among the {len(models)} of configs/ and "
            f"model-index.yml; give a path, or a name such as {', '.join(near)}."
        )
    return found


def named_model(name: str) -> Model | None:
    """The config of a name, as :func:`find_model` finds it.

    Args:
        name: Of an entry of the model index, of a file without its ending, or of a method and two datasets.

    Returns:
        The model; None if there is none.
    """
    files = _files()
    if name in files:
        return Model(name, files[name], {}, [])
    models = model_index()
    return models.get(name) or _of_another_pair(name, models)


def _of_another_pair(name: str, models: dict[str, Model]) -> Model | None:
    """A method with a source by the short names of two datasets that no config has yet."""
    recipe, _, pair = name.rpartition("_")
    source, _, target = pair.rpartition("2")
    like = [one for one in models if one.startswith(f"{recipe}_") and "2" in one]
    sources, targets = (
        {short_name(one, of_source=of_source): one for one in DATASET_CATALOG}
        for of_source in (True, False)
    )
    if not like or source not in sources or target not in targets:
        return None
    pattern = models[like[0]]
    changes = dict(source=sources[source], target=targets[target])
    return Model(name, pattern.file, {**pattern.overrides, **changes}, [])
