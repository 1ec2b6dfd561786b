"""Pages of the site that are made when it is built: methods, projects, model zoo and API.

Each page that exists as a file elsewhere (a README) is copied, and its links are made relative to their new place by
:func:`relink`, as those of the pages in this folder are; so the files stay plain Markdown for readers on a code host.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import statistics
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from sphinx.pycode import ModuleAnalyzer

DOCS = Path(__file__).parent
REPOSITORY = DOCS.parent
GENERATED = DOCS / "_generated"
PACKAGES = (
    "apis",
    "config",
    "checkpoint",
    "neighbors",
    "clustering",
    "evaluation",
    "datasets",
    "datasets.samplers",
    "datasets.transforms",
    "datasets.synthetic",
    "models",
    "models.algorithms",
    "models.encoders",
    "models.backbones",
    "models.heads",
    "models.layers",
    "models.losses",
    "models.memories",
    "models.necks",
    "engine",
    "engine.hooks",
    "structures",
    "visualization",
    "utils",
)
_LINK = re.compile(r"(!?)\[((?:[^][]|\[[^][]*\])*)\]\((?!https?:)([^)#\s]+)(#[^)\s]*)?\)")
_MEASURED = re.compile(r"^## Measured here\n\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def generate() -> dict[str, Path]:
    """Write all generated pages.

    Returns:
        Name of each page that is a copy, relative to ``docs`` and without suffix -> the file it was made from.
    """
    shutil.rmtree(GENERATED, ignore_errors=True)
    readmes = [
        *sorted(REPOSITORY.glob("configs/*/README.md")),
        REPOSITORY / "projects" / "README.md",
        *sorted(REPOSITORY.glob("projects/*/README.md")),
    ]
    copies = {}
    for readme in readmes:
        folder = readme.parent
        kind = "methods" if folder.parent.name == "configs" else "projects"
        name = "index" if folder.name == "projects" else folder.name
        page = GENERATED / kind / f"{name}.md"
        _write(page, readme.read_text(encoding="utf-8") + _facts(folder))
        copies[_docname(page)] = readme
    _write(GENERATED / "model_zoo.md", model_zoo(copies))
    shown: set[int] = set()
    for package in PACKAGES:
        _write(GENERATED / "api" / f"{package}.md", api_page(package, shown))
    return copies


def _docname(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# ---- links


def relink(text: str, origin: Path, page: Path, copies: dict[str, Path]) -> str:
    """Turn links between files of the repository into links between pages.

    A README that is copied, or its folder, becomes the page; another file of the repository is offered for download,
    a picture is shown; a folder without a page becomes plain text.

    Args:
        text: Markdown.
        origin: The file the text was written in.
        page: The file it is shown in.
        copies: See :func:`generate`.
    """
    shown = {path.resolve(): DOCS / f"{name}.md" for name, path in copies.items()}

    def moved(match: re.Match[str]) -> str:
        image, label, target, anchor = match.groups()
        path = (origin.parent / target).resolve()
        path = path / "README.md" if (path / "README.md").is_file() else path
        path = shown.get(path, path)
        if not path.is_file():
            return match[0] if image else label
        return (
            f"{image}[{label}]({Path(os.path.relpath(path, page.parent)).as_posix()}{anchor or ''})"
        )

    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(moved, part) for part in parts[::2]]
    return "".join(parts)


# ---- what the metafiles say


def _read_metafile(folder: Path) -> dict[str, Any]:
    path = folder / "metafile.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _facts(folder: Path) -> str:
    """Setting, parts and code of a method, for the end of its page."""
    meta = _read_metafile(folder)
    if not meta:
        return ""
    [collection] = meta["Collections"]
    code = collection["Code"]
    lines = ["", "## At a glance", ""]
    # A project need not say more than where its code is.
    for name, value in collection.get("Metadata", {}).items():
        lines.append(f"* {name}: {', '.join(value) if isinstance(value, list) else value}")
    authors = f"; of the authors: <{code['Reference']}>" if "Reference" in code else ""
    lines.append(f"* Code: `{code['Path']}`{authors}")
    lines.append(f"* Configs: {len(meta['Models'])}")
    return "\n".join(lines) + "\n"


def model_zoo(copies: dict[str, Path]) -> str:
    """The table of every figure that a metafile holds, with who found it."""
    lines = [
        "# Model zoo",
        "",
        "Each figure says who ran it, and on what: mAP / Rank-1 in percent. *Quoted* ones were found by others with "
        "their code; they are what a config should reach. *Measured here* are means and standard deviations of several "
        "seeds with this code, in trainings of minutes; these are given for one run on one CPU core, where they "
        "were noted. Figures of different data, or of different lengths of training, must not be compared.",
        "",
        "| method | config | backbone | trained on | tested on | quoted | here | who ran it, and how |",
        "|---|---|---|---|---|---|---|---|",
    ]
    without = 0
    for docname, readme in copies.items():
        meta = _read_metafile(readme.parent)
        page = Path(os.path.relpath(DOCS / f"{docname}.md", GENERATED)).as_posix()
        for model in meta.get("Models", []):
            without += not model.get("Results")
            for result in model.get("Results", []):
                is_quoted = result["Origin"].startswith("quoted")
                cells = [_figures(result), "–"] if is_quoted else ["–", _figures(result)]
                lines.append(
                    f"| [{model['In Collection']}]({page}) | `{model['Name']}` | {model['Metadata']['Backbone']} | "
                    f"{model['Metadata']['Training Data']} | {result['Dataset']} | {cells[0]} | {cells[1]} | "
                    f"{result['Origin']} |"
                )
    lines += _compared()
    lines += [
        "",
        f"{without} further configs have no figure in the literature, or none that was found, and none of ours.",
    ]
    sections = [
        f"### {readme.parent.name}\n\n{relink(found[1], readme, GENERATED / 'model_zoo.md', copies)}"
        for readme in copies.values()
        if (found := _MEASURED.search(readme.read_text(encoding="utf-8")))
    ]
    if sections:
        lines += ["", "## Measured with this code", "", "\n\n".join(sections)]
    return "\n".join(lines) + "\n"


def _compared() -> list[str]:
    """Rows of the comparison of methods, whose configs are made by its plan."""
    plan = yaml.safe_load((DOCS / "comparison.yml").read_text(encoding="utf-8"))
    lines = []
    for data, methods in plan["results"].items():
        for method, runs in methods.items():
            columns = dict(zip(("mAP", "Rank-1", "Minutes"), zip(*runs)))
            minutes = statistics.mean(columns.pop("Minutes"))
            result: dict[str, Any] = dict(
                Metrics={name: statistics.mean(values) for name, values in columns.items()},
                Seeds=len(runs),
                Minutes=f"{minutes:.1f}",
            )
            if len(runs) > 1:
                result["Deviation"] = {
                    name: statistics.stdev(values) for name, values in columns.items()
                }
            lines.append(
                f"| [comparison](../which_method.md) | {method} | MobileNetV2 | {data} | {data} | – | "
                f"{_figures(result)} | measured here, plan of the comparison |"
            )
    return lines


def _figures(result: dict[str, Any]) -> str:
    """``67.5 ± 0.6 / 83.3 ± 1.4 (3 seeds)``, as far as it is known."""
    deviations, parts = result.get("Deviation", {}), []
    for name in ("mAP", "Rank-1"):
        value = result["Metrics"].get(name)
        text = "–" if value is None else f"{value:.1f}"
        parts.append(f"{text} ± {deviations[name]:.1f}" if name in deviations else text)
    notes = [f"{result['Seeds']} seeds"] if "Seeds" in result else []
    notes += [f"{result['Minutes']} min"] if "Minutes" in result else []
    return " / ".join(parts) + (f" ({', '.join(notes)})" if notes else "")


# ---- API


def api_page(package: str, shown: set[int]) -> str:
    """Reference of the names that a package offers.

    Args:
        package: Its name below ``mmreid_uda``.
        shown: Ids of the objects that other pages describe, which are left out here; those of this page are added.
    """
    name = f"mmreid_uda.{package}"
    module = importlib.import_module(name)
    lines = [f".. automodule:: {name}", "", f".. currentmodule:: {name}", ""]
    for one in module.__all__:
        value = getattr(module, one)
        if isinstance(value, ModuleType) or id(value) in shown:
            continue
        shown.add(id(value))
        lines += _directive(name, one, value)
    return "\n".join([f"# {name}", "", "```{eval-rst}", *lines, "```", ""])


def _directive(module: str, name: str, value: Any) -> list[str]:
    if isinstance(value, type):
        return [f".. autoclass:: {name}", "   :members:", "   :show-inheritance:", ""]
    if callable(value):
        return [f".. autofunction:: {name}", ""]
    return [f".. py:data:: {name}", "", *(f"   {line}" for line in _data_docs(module, name)), ""]


def _data_docs(package: str, name: str) -> list[str]:
    """The text below a constant, in the module of the package that defines it."""
    for module in sorted(sys.modules):
        if module.startswith(package) and hasattr(sys.modules[module], name):
            docs = ModuleAnalyzer.for_module(module).find_attr_docs()
            if ("", name) in docs:
                return docs["", name]
    return []
