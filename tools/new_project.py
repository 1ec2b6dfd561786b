"""Write a new project: a method that changes one loss of another, its config, test and README.

The test passes as it is written; change the loss, and the test with it.

Examples:
    python tools/new_project.py mymethod --base ise
    python tools/new_project.py mymethod --base configs/abmt/abmt_r50_duke2market.py
"""

from __future__ import annotations

import argparse
import ast
import keyword
import os
import re
from pathlib import Path
from string import Template
from typing import Any, get_type_hints

from mmreid_uda.cli import ToolParser, run_tool, writable_folder
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path

REPOSITORY = Path(__file__).resolve().parents[1]

METHOD = '''"""$title: $base, and features that stay short."""

from __future__ import annotations

from typing import Any

from torch import Tensor

$imports


@MODELS.register_module()
class $title($base):
    """$base plus ``weight`` times the mean squared length of the pooled features.

    Args:
        *args: As for :class:`$base`.
        weight: Of the new loss, at least 0. Defaults to 0.01.
        **kwargs: As for :class:`$base`.
    """

    def __init__(self, *args: Any, weight: float = 0.01, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weight = weight

$loss

    # Beside the losses a method may say which networks there are (build_networks), which features are clustered
    # (cluster_features), what follows from new labels (on_relabel) and which hooks it needs (required_hooks). It
    # overrides nothing else: projects/README.md has the arguments, and what can be registered instead.
'''

# Where the output of a family of methods has pooled features, if not in itself.
_POOLED = dict(MeanTeacherOutput=".students[0].pooled", DistilledOutput=".student.pooled")

LOSS = '''    def $method(self, out: $output, samples: ReIDDataSample) -> dict[str, Tensor]:
        """The losses of $base, and ``loss_norm``."""
        losses = super().$method(out, samples)
        losses["loss_norm"] = self.weight * $pooled.square().sum(-1).mean()
        return losses'''

CONFIG = """# $title on the data of $base_stem.
_base_ = [
$bases
]

$settings

custom_imports = dict(imports=["projects.$name.$name"])
$model(type="$title", weight=0.01)
"""

TEST = '''"""$title: its config trains, and the new loss is added to those of $base."""

from pathlib import Path

import pytest
import torch

from mmreid_uda.config import load_config
from mmreid_uda.testing import build_model, random_batch

CONFIG = Path(__file__).parent / "configs" / "$stem.py"


def losses(weight):
    cfg = load_config(CONFIG, {"model.weight": weight, "stage1": None})
    model = build_model(cfg)
    return model, model(*random_batch(cfg), mode="loss")


def test_one_training_step_reaches_the_network():
    model, parts = losses(weight=0.01)
    total, _ = model.parse_losses(parts)
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert torch.isfinite(total) and all(torch.isfinite(grad).all() for grad in gradients)
    assert any(grad.any() for grad in gradients)


def test_the_new_loss_follows_its_weight_and_the_others_stay():
    (_, once), (_, twice), (_, never) = (losses(weight) for weight in (0.01, 0.02, 0.0))
    assert twice["loss_norm"].item() == pytest.approx(2 * once["loss_norm"].item())
    assert once["loss_norm"] > 0 and never["loss_norm"] == 0
    for name in once.keys() - {"loss_norm"}:
        assert once[name].item() == pytest.approx(never[name].item())
'''

README = """# $title

$base with one more loss: the mean squared length of the pooled features, times `weight`. It keeps features short; put
your own in its place.

| file | what it is |
|---|---|
| `$name.py` | the method |
| `configs/` | what it is trained on |
| `test_$name.py` | one training step; the loss follows its weight |
| `metafile.yml` | the configs, for machines |

## Run it

```bash
python tools/train.py projects/$name/configs/$stem.py
python tools/test.py projects/$name/configs/$stem.py work_dirs/$stem/epoch_10.pth
```

## Configs

| config | what differs | mAP / Rank-1 |
|---|---|---|
| [$stem](configs/$stem.py) | the data and schedule of `$base_stem` | – |

No figure has been measured yet. Say of each one whether it was measured here or quoted, with seeds and budget.
"""

METAFILE = """Collections:
  - Name: $title
    README: projects/$name/README.md
    Code:
      Path: projects/$name/$name.py

Models:
  - Name: $stem
    In Collection: $title
    Config: projects/$name/configs/$stem.py
    Metadata:
      Training Data: $data
      Backbone: $backbone
"""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Write a new project: method, config, test, README, metafile.")
    parser.add_argument("name", help="name of the project, such as my_method")
    parser.add_argument(
        "--base",
        default="cluster_contrast",
        help="method to start from: a folder of configs/ or projects/, or a config file",
    )
    parser.add_argument(
        "--into",
        type=writable_folder,
        default=str(REPOSITORY),
        help="folder in which projects/<name> is made, and from which the tools are run (default: the repository)",
    )
    return parser.parse_args()


def small_config(method: str) -> Path:
    """The config to start from: the file itself, or the plainest of a method's, on rendered people if there is one.

    Raises:
        InputError: If there is none.
    """
    if method.endswith(".py"):
        return Path(method).resolve()
    folders = [REPOSITORY / "configs" / method, REPOSITORY / "projects" / method / "configs"]
    if method.startswith("_"):
        folders = []  # parts of configs
    found = [path for folder in folders for path in folder.glob("[!_]*.py")]
    if not found:
        methods = sorted({path.parent.name for path in REPOSITORY.glob("configs/[!_]*/*.py")})
        raise InputError(
            f"found no configs of --base {method!r}, expected one of {', '.join(methods)}, a project, or a config file."
        )

    def oddness(path: Path) -> tuple[bool, bool, int, int, str]:
        name = path.stem
        variant = len(name.split("_")[0])
        return ("_mbv2_" not in name, not name.endswith("synthb"), variant, len(name), name)

    return min(found, key=oddness)


def loss_method(base: Any) -> str:
    """Name of the method in which an algorithm computes its losses.

    Raises:
        InputError: If it is none of the known ones.
    """
    from mmreid_uda.models import algorithms

    for name in ("loss_target", "loss_source"):
        if getattr(base, name, None) not in (None, getattr(algorithms.BaseReID, name)):
            return name
    raise InputError(
        f"found {base.__name__}, which has no losses of a target or a source to add to: choose another --base."
    )


def import_lines(base: Any, output: Any) -> str:
    """What the method's file imports of this package, in order."""
    from mmreid_uda.models import algorithms

    public = base.__name__ in algorithms.__all__
    lines = {
        f"from {algorithms.__name__ if public else base.__module__} import {base.__name__}",
        f"from {output.__module__.rpartition('.')[0]} import {output.__name__}",
        "from mmreid_uda.registry import MODELS",
        "from mmreid_uda.structures import ReIDDataSample",
    }
    return "\n".join(sorted(lines))


def config_parts(config: Path, folder: Path) -> dict[str, str]:
    """What the new config has of the one it starts from: its bases, seen from ``folder``, and its own settings."""
    source = config.read_text(encoding="utf-8")
    [bases] = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_"
    )
    named = ast.literal_eval(bases.value)
    paths = [
        Path(os.path.relpath(config.parent / one, folder)).as_posix()
        for one in ([named] if isinstance(named, str) else named)
    ]
    settings = "\n".join(source.splitlines()[bases.end_lineno :]).strip()
    return dict(
        bases="\n".join(f'    "{path}",' for path in paths),
        settings=settings,
        model="model.update" if re.search(r"^model = ", settings, re.M) else "model = dict",
    )


def write_project(name: str, config: Path, root: Path) -> Path:
    """Write the files of a project.

    Args:
        name: Its name, an identifier in small letters.
        config: Config to start from.
        root: Folder in which ``projects/<name>`` is made.

    Returns:
        The project's folder.

    Raises:
        InputError: If the name cannot be used, the folder is there already, or the config has no losses to add to.
    """
    from mmreid_uda.config import load_config
    from mmreid_uda.registry import MODELS

    folder = root / "projects" / name
    title = "".join(part.capitalize() for part in name.split("_"))
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise InputError(
            f"found the name {name!r}, expected small letters, digits and underscores, such as my_method."
        )
    if any(part.exists() and not part.is_dir() for part in (root, folder.parent)):
        raise InputError(
            f"found a file in the place of the folder {str(folder.parent)!r}: correct --into."
        )
    if folder.exists():
        raise InputError(
            f"found a folder {str(folder)!r} already: choose another name, or remove it."
        )
    cfg = load_config(config)
    if MODELS.get(title) is not None:
        raise InputError(f"found a model {title!r} already: choose another name than {name!r}.")
    base = MODELS.get(cfg.model.type)
    method = loss_method(base)
    output = get_type_hints(getattr(base, method))["out"]
    if config.stem.count("_") != 2:
        raise InputError(
            f"found the config name {config.name!r}, expected <method>_<backbone>_<data>.py, of which the name of the "
            "new config is made: copy the file under such a name, or choose another --base."
        )
    _, backbone, data = config.stem.split("_")
    stem = f"{name.replace('_', '-')}_{backbone}_{data}"
    words = dict(
        name=name,
        title=title,
        base=base.__name__,
        method=method,
        stem=stem,
        base_stem=config.stem,
        **config_parts(config, folder / "configs"),
        backbone=backbone,
        data=data,
        output=output.__name__,
        pooled="out" + _POOLED.get(output.__name__, ".pooled"),
        imports=import_lines(base, output),
    )
    words["loss"] = Template(LOSS).substitute(words)
    for file, text in (
        (f"{name}.py", METHOD),
        (f"configs/{stem}.py", CONFIG),
        (f"test_{name}.py", TEST),
        ("README.md", README),
        ("metafile.yml", METAFILE),
    ):
        with atomic_path(folder / file) as path:
            path.write_text(Template(text).substitute(words), encoding="utf-8")
    return folder


def main() -> None:
    """Write the project and say what to do next."""
    args = parse_args()
    config = small_config(args.base)
    folder = write_project(args.name, config, Path(args.into).resolve())
    print(f"wrote {folder}, which starts from {config.name}")
    print(f"run its test: python -m pytest projects/{args.name}")


if __name__ == "__main__":
    run_tool(main)
