"""The command ``mmreid``: which tool runs, with which words."""

import runpy
import subprocess
import sys

import pytest
from processes import REPOSITORY

from mmreid_uda.cli import ToolParser
from mmreid_uda.cli.main import COMMANDS, main


@pytest.fixture
def ran(monkeypatch):
    """Give ``mmreid`` some words: the tool that would run, and its command line."""
    started = []
    monkeypatch.setattr(
        runpy, "run_path", lambda path, run_name: started.append((path, list(sys.argv)))
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(ToolParser, "program", None)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["mmreid", *words])
        main()
        [(path, argv)] = started
        assert sys.path[0] == path.rpartition("/")[0]
        return path.removeprefix(f"{REPOSITORY}/tools/"), argv

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_its_tool_with_the_words_that_follow(ran, command):
    script, argv = ran(command, "config", "--flag", "--processes=1")
    assert (REPOSITORY / "tools" / script).is_file() and script == COMMANDS[command][0]
    rest = [] if command in ("train", "test") else ["--processes=1"]
    assert argv[1:] == ["config", "--flag", *rest]
    assert ToolParser("Works.").prog == f"mmreid {command}"


@pytest.mark.parametrize(
    "flags", [["config", "--amp", "--processes", "2"], ["--processes=2", "config", "--amp"]]
)
def test_several_processes_are_started_by_the_launcher(ran, flags):
    script, argv = ran("train", *flags)
    assert script == "launch.py" and argv[1:] == ["train.py", "config", "2", "--amp"]


@pytest.mark.parametrize(
    "words, status, said",
    [
        (["--help"], 0, "pipeline  train a model and, before it"),
        ([], 2, "error: the following arguments are required: COMMAND; see mmreid --help."),
        (["trian"], 2, "error: argument COMMAND: invalid choice: 'trian'"),
        (
            ["train", "a.py", "--processes", "0"],
            2,
            "found '0', expected a whole number of at least 1",
        ),
    ],
)
def test_what_is_no_command_is_one_sentence(monkeypatch, capsys, words, status, said):
    monkeypatch.setattr(sys, "argv", ["mmreid", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = capsys.readouterr()
    assert stopped.value.code == status and said in printed.out + printed.err


def test_help_is_there_before_torch_is_imported():
    code = (
        "import sys\nfrom mmreid_uda.cli.main import main\nsys.argv = ['mmreid', 'train', '--help']\n"
        "try:\n    main()\nfinally:\n    print(sorted({'torch', 'mmengine'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: mmreid train [-h]") and done.stdout.endswith("\n[]\n")
