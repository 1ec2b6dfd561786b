"""The documentation site builds without a warning, and what is generated is complete."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

for package in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(package)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs"))
    return importlib.import_module("pages")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """What the site is made of, so that the build does not write into the repository."""
    root = tmp_path_factory.mktemp("site")
    for name in ("docs", "configs", "projects"):
        ignored = shutil.ignore_patterns("__pycache__", "_build", "_generated")
        shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
    return root


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_shows_every_figure_and_name(copy, pages):
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "site"],
        cwd=copy,
        env=dict(os.environ, PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]

    site = copy / "site"
    html = {
        path.relative_to(site)
        .with_suffix("")
        .as_posix()
        .removeprefix("_generated/"): path.read_text()
        for path in site.rglob("*.html")
    }
    metas = [yaml.safe_load(path.read_text()) for path in copy.glob("*/*/metafile.yml")]
    results = [
        one for meta in metas for model in meta["Models"] for one in model.get("Results", [])
    ]
    compared = yaml.safe_load((copy / "docs" / "comparison.yml").read_text())["results"]
    results += [method for data in compared.values() for method in data]
    zoo = html["model_zoo"]
    quoted, measured = zoo.split('id="measured-with-this-code"')
    assert quoted.count("<tr") == 1 + len(results)
    assert sum(quoted.count(f"<p>{start} ") for start in ("quoted", "measured")) == len(results)
    readmes = [path.read_text() for path in copy.glob("*/*/README.md")]
    assert measured.count("<h3>") == sum("\n## Measured here\n" in one for one in readmes) > 0
    assert all("At a glance" in html[name] for name in ("methods/ise", "projects/spcl"))
    # A link between READMEs leads to the page, one to a config to the file.
    assert 'href="cluster_contrast.html"' in html["methods/ise"]
    assert re.search(r'href="\S*_downloads/\S*/ise_r50_market\.py"', html["methods/ise"])
    assert 'href="_generated/methods/ise.html"' in html["index"]
    assert re.search(
        r'<img alt="Distances[^>]* src="\S*_images/diversity\.png"', html["methods/abmt"]
    )

    anchors = {
        name for text in html.values() for name in re.findall(r'id="(mmreid_uda\.[\w.]+)"', text)
    }
    shown = {name.rpartition(".")[2] for name in anchors}
    public = {
        name
        for package in pages.PACKAGES
        for name in importlib.import_module(f"mmreid_uda.{package}").__all__
    }
    modules = {name.rpartition(".")[2] for name in pages.PACKAGES} | {
        "data_preprocessor",
        "functional",
    }
    assert public - modules <= shown


@pytest.mark.parametrize(
    "link, moved",
    [
        ("[ISE](../ise/README.md)", "[ISE](ise.md)"),
        ("[ISE](../ise)", "[ISE](ise.md)"),
        ("[why](../../docs/data.md#layouts)", "[why](../../data.md#layouts)"),
        ("[x](mmt_r50.py)", "[x](../../../configs/mmt/mmt_r50.py)"),
        ("[a [b] c](../ise)", "[a [b] c](ise.md)"),
        ("[bases](../_base_)", "bases"),
        ("[code](https://github.com/a/b)", "[code](https://github.com/a/b)"),
        ("![image](../../docs/a.png)", "![image](../../a.png)"),
        ("![image](none.png)", "![image](none.png)"),
        ("```text\n[ISE](../ise)\n```", "```text\n[ISE](../ise)\n```"),
    ],
)
def test_links_follow_a_readme_to_its_page(pages, tmp_path, monkeypatch, link, moved):
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    for file in (
        "docs/a.png",
        "docs/data.md",
        "configs/ise/README.md",
        "configs/mmt/mmt_r50.py",
        "configs/mmt/README.md",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "configs" / "_base_").mkdir()
    copies = {}
    for name in ("ise", "mmt"):
        copies[f"_generated/methods/{name}"] = tmp_path / "configs" / name / "README.md"
        page = tmp_path / "docs" / "_generated" / "methods" / f"{name}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.touch()
    origin, page = copies["_generated/methods/mmt"], tmp_path / "docs/_generated/methods/mmt.md"
    text = pages.relink(link, origin, page, copies)
    assert text == moved
    # A text that is relinked already stays as it is.
    assert pages.relink(text, page, page, copies) == moved
