"""What a newcomer and a code host read: versions agree, hooks and the workflow do what `make` does."""

import re
from pathlib import Path

import yaml

from mmreid_uda import __version__

ROOT = Path(__file__).parents[1]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read_yaml(path):
    return yaml.safe_load((ROOT / path).read_text())


def test_the_version_is_the_same_everywhere():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == str(read_yaml("CITATION.cff")["version"]) == __version__


def test_hooks_need_no_network_and_check_what_lint_checks():
    repos = read_yaml(".pre-commit-config.yaml")["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    entries = [hook["entry"].split(" --")[0] for hook in repos[0]["hooks"]]
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert entries == ["ruff check", "ruff format", "mypy"]
    assert all(f"$(BIN)/{entry}" in recipe for entry in entries)


def test_the_workflow_runs_the_gate_with_every_supported_python():
    [job] = read_yaml(".github/workflows/ci.yml")["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make env", "make test"]
    assert job["strategy"]["matrix"]["python"][0] == "3.10"
    assert 'requires-python = ">=3.10"' in (ROOT / "pyproject.toml").read_text()


def test_the_make_targets_of_the_guide_exist():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`make (\w+)`|^\| `(\w+)` \|", guide, re.MULTILINE)
    assert len(named) > 5 and {one or other for one, other in named} <= TARGETS
