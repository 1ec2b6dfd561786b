"""A new project trains, passes its own test untouched, and looks like the example."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmreid_uda.utils import InputError

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "tools" / "new_project.py"

spec = importlib.util.spec_from_file_location("new_project", SCRIPT)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def run(*command, cwd):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def files(folder):
    """Names and texts of a project, without the ways to the bases, which depend on where the project is."""
    return {
        path.relative_to(folder).as_posix(): re.sub(
            r"_base_ = \[.*?\]", "", path.read_text(), flags=re.DOTALL
        )
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.mark.slow
def test_projects_on_three_kinds_of_methods_pass_their_tests_untouched(tmp_path):
    tool.write_project("taught_features", tool.small_config("mmt"), tmp_path)
    tool.write_project("labeled_features", tool.small_config("source"), tmp_path)
    run(SCRIPT, "example_project", "--base", "cluster_contrast", "--into", tmp_path, cwd=tmp_path)
    example = Path("projects/example_project")
    assert files(tmp_path / example) == files(REPOSITORY / example)
    assert "6 passed" in run("-m", "pytest", "projects", cwd=tmp_path)


@pytest.mark.parametrize(
    "method, config",
    [
        ("cluster_contrast", "cluster-contrast_mbv2_synthb"),
        ("abmt", "abmt_mbv2_syntha2synthb"),
        ("spcl", "spcl_mbv2_synthb"),
        (str(REPOSITORY / "configs/ise/ise_r50_market.py"), "ise_r50_market"),
    ],
)
def test_a_method_stands_for_its_plainest_small_config(method, config):
    assert tool.small_config(method).stem == config


def test_a_project_can_start_from_a_project(tmp_path):
    folder = tool.write_project("spcl_further", tool.small_config("spcl"), tmp_path)
    text = (folder / "spcl_further.py").read_text()
    assert "from projects.spcl.spcl import SpCL" in text and "class SpclFurther(SpCL)" in text


@pytest.mark.parametrize(
    "name, method, sentence",
    [
        ("mine", "nonsense", "expected one of abmt, cluster_contrast"),
        ("My-Method", "ise", "expected small letters"),
        ("class", "ise", "expected small letters"),
        ("taken", "ise", "already: choose another name"),
        ("supervised", "ise", "found a model 'Supervised' already"),
        ("mine", "_base_", "found no configs of --base '_base_'"),
        ("mine", "custom.py", "found the config name 'custom.py', expected <method>_<backbone>_"),
        ("mine", "ise", "found a file in the place of the folder"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(tmp_path, name, method, sentence):
    (tmp_path / "projects" / "taken").mkdir(parents=True)
    (tmp_path / "file").touch()
    base = REPOSITORY / "configs/ise/ise_r50_market.py"
    (tmp_path / "custom.py").write_text(f"_base_ = {str(base)!r}\n")
    method = str(tmp_path / method) if method == "custom.py" else method
    root = tmp_path / "file" if "a file in the place" in sentence else tmp_path
    with pytest.raises(InputError, match=sentence):
        tool.write_project(name, tool.small_config(method), root)
    assert not (tmp_path / "projects" / name).exists() or name == "taken"
