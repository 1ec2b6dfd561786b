"""Settings of the documentation site: ``make docs`` builds it into ``docs/_build``."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import pages
from sphinx.application import Sphinx

from mmreid_uda import __version__

project = "mmreid_uda"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_heading_anchors = 4
# Blocks of layouts and messages hold arrows and Greek letters: nothing to highlight.
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "none"
# Arguments of registered classes are documented at the class.
autoclass_content = "class"
# Without it, dataclass fields that are described under Args or Attributes appear twice.
napoleon_use_ivar = True
napoleon_custom_sections = [("Fields", "params_style")]

PAGES = {
    "Start": [
        "get_started",
        "own_cameras",
        "start",
        "weights",
        "life_cycle",
        "configuration",
        "data",
        "distributed",
        "robustness",
        "gpu",
    ],
    "Use": [
        "which_method",
        "evaluation",
        "clustering",
        "scale",
        "tuning",
        "inference",
        "gallery",
        "export",
        "serve",
        "page",
        "privacy",
        "visualization",
        "faq",
    ],
    "Papers": ["_generated/model_zoo", "_generated/methods/*"],
    "Extend": ["_generated/projects/index", "_generated/projects/*"],
    "Reference": ["glossary", "_generated/api/*"],
}


def with_contents(text: str) -> str:
    """Append the navigation to the first page, where a code host does not show it."""
    blocks = [text]
    for caption, names in PAGES.items():
        there = [name for name in names if "*" in name or (pages.DOCS / f"{name}.md").exists()]
        blocks.append(
            "\n".join(
                ["```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", "", *there, "```"]
            )
        )
    return "\n\n".join(blocks)


def setup(app: Sphinx) -> None:
    """Make the generated pages before Sphinx looks for files, and adapt links as it reads them."""
    copies = pages.generate()

    def read(_: Sphinx, docname: str, source: list[str]) -> None:
        page = pages.DOCS / f"{docname}.md"
        if "/api/" not in docname:
            source[0] = pages.relink(source[0], copies.get(docname, page), page, copies)
        if docname == "index":
            source[0] = with_contents(source[0])

    app.connect("source-read", read)
