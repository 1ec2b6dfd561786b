"""The metafiles, and the tables beside them, name every config of their folder and nothing else."""

import re
from pathlib import Path

import pytest
import yaml

from mmreid_uda.config import model_index

REPOSITORY = Path(__file__).parents[2]
METAFILES = sorted(
    path
    for pattern in ("configs/*", "projects/*")
    for path in REPOSITORY.glob(f"{pattern}/metafile.yml")
)


def configs_of(folder):
    """Configs of a paper's folder, or of a project, which has them in a folder of their own."""
    if folder.parent.name == "projects":
        folder = folder / "configs"
    return {path.relative_to(REPOSITORY).as_posix() for path in folder.glob("*.py")}


def test_the_index_imports_every_metafile_and_no_figure_is_lost():
    index = yaml.safe_load((REPOSITORY / "model-index.yml").read_text())
    assert index["Import"] == [path.relative_to(REPOSITORY).as_posix() for path in METAFILES]
    metrics = sum(len(model.results) for model in model_index().values())
    assert metrics >= 95


def test_every_folder_of_a_paper_has_a_metafile_and_a_readme():
    papers = {path.parent for path in REPOSITORY.glob("configs/[!_]*/*.py")}
    papers |= {path.parents[1] for path in REPOSITORY.glob("projects/*/configs/*.py")}
    assert {path.parent for path in METAFILES} == papers
    assert all((folder / "README.md").is_file() for folder in papers)


@pytest.mark.parametrize("path", METAFILES, ids=lambda path: path.parent.name)
def test_a_metafile_is_complete_and_consistent(path):
    meta = yaml.safe_load(path.read_text())
    [collection] = meta["Collections"]
    assert (REPOSITORY / collection["README"]).is_file()
    assert (REPOSITORY / collection["Code"]["Path"]).is_file()
    assert {model["Config"] for model in meta["Models"]} == configs_of(path.parent)
    names = [model["Name"] for model in meta["Models"]]
    assert len(names) == len(set(names))
    for model in meta["Models"]:
        assert (model["Name"] == Path(model["Config"]).stem) == ("Overrides" not in model)
        assert model["In Collection"] == collection["Name"]
        assert model["Metadata"]["Training Data"] and model["Metadata"]["Backbone"]


@pytest.mark.parametrize("path", METAFILES, ids=lambda path: path.parent.name)
def test_figures_say_where_they_come_from_and_agree_with_the_readme(path):
    readme = (path.parent / "README.md").read_text()
    # A file is linked, a variant has its name alone.
    rows = re.findall(r"^\| (?:\[([^]]+)\]\([^)]+\.py\)|`([\w-]+_[\w-]+)`) (.*)$", readme, re.M)
    rows = {file or variant: (bool(variant), row) for file, variant, row in rows[::-1]}
    measured = readme.partition("\n## Measured here\n")[2]
    models = yaml.safe_load(path.read_text())["Models"]
    assert rows.keys() == {model["Name"] for model in models}
    for model in models:
        is_variant, row = rows[model["Name"]]
        assert is_variant == ("Overrides" in model)
        results = model.get("Results", [])
        quoted = [result for result in results if result["Origin"].startswith("quoted")]
        assert bool(quoted) == (re.search(r"\d+\.\d / (\d+\.\d|–)", row) is not None)
        for result in quoted:
            metrics = result["Metrics"]
            rank_1 = f"{metrics['Rank-1']:.1f}" if "Rank-1" in metrics else "–"
            assert f"{metrics['mAP']:.1f} / {rank_1}" in row
        for result in results:
            if result not in quoted:
                assert result["Origin"].startswith("measured here, ") and result["Seeds"] >= 3
                assert result["Metrics"].keys() == result["Deviation"].keys()
                figure = f"{result['Metrics']['mAP']:.1f} ± {result['Deviation']['mAP']:.1f}"
                assert figure in measured, (model["Name"], figure)
