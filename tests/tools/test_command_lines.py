"""Command lines of all tools: every option explains itself and shows its default, errors of usage are one sentence."""

import argparse
import importlib.util
import json
import subprocess
import sys

import pytest
from deployment import REPOSITORY

from mmreid_uda.cli import ToolParser, add_picture_argument, at_least

TOOLS = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (REPOSITORY / "tools").rglob("*.py")
    if "parse_args()" in path.read_text(encoding="utf-8")
)


class Stop(Exception):
    """Carries the parser that a tool has filled."""


@pytest.fixture
def parser_of(monkeypatch):
    """The parser of a tool, with all its options, without running the tool."""

    def stop(self, *args, **kwargs):
        raise Stop(self)

    for name in ("parse_args", "parse_known_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, stop)

    def read(script):
        path = REPOSITORY / script
        monkeypatch.syspath_prepend(str(path.parent))
        spec = importlib.util.spec_from_file_location(f"_help_of_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        with pytest.raises(Stop) as caught:
            module.parse_args()
        return caught.value.args[0]

    return read


def parsers(parser):
    """A parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


# Reads a list of command lines, runs each in a fork, and prints which of them have imported something that takes time.
IMPORTS = """
import json, os, runpy, sys
import mmreid_uda.cli

HEAVY = ("torch", "mmengine", "scipy.stats", "sklearn", "matplotlib", "numba")
for argv in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        sys.argv, status = argv, 0
        sys.path.insert(0, os.path.dirname(argv[0]))
        try:
            runpy.run_path(argv[0], run_name="__main__")
        except SystemExit as stopped:
            status = stopped.code or 0
        os._exit(100 if any(name in sys.modules for name in HEAVY) else status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def statuses():
    """Exit statuses of ``--help`` and of an unknown flag of each tool; 100 where something heavy was imported."""
    lines = [[script, flag] for script in TOOLS for flag in ("--help", "--no-such-flag")]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        input=json.dumps(lines),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    numbers = list(map(int, done.stdout.split()))
    return dict(zip(TOOLS, zip(numbers[::2], numbers[1::2], strict=True), strict=True))


@pytest.mark.parametrize("script", TOOLS)
def test_a_command_line_is_read_before_anything_heavy_is_imported(statuses, script):
    assert statuses[script] == (0, 2)


@pytest.mark.parametrize("script", TOOLS)
def test_help_shows_the_default_of_every_option(parser_of, script):
    if script == "tools/deploy/run_onnx.py":
        pytest.importorskip("onnxruntime")
    for parser in parsers(parser_of(script)):
        formatter = parser._get_formatter()
        for action in parser._actions:
            if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
                continue
            said = formatter._expand_help(action)
            assert said, f"{script}: {action.dest} has no help"
            if action.option_strings and action.default not in (None, False, [], ()):
                assert said.count("(default: ") == 1, f"{script}: {action.dest}: {said}"


def test_an_error_of_usage_is_one_sentence_and_a_default_is_shown(capsys):
    parser = ToolParser("Does something.")
    parser.add_argument(
        "--sizes", type=at_least(1), nargs="+", default=[3, 4], help="how large, in %%"
    )
    parser.add_argument("--flag", action="store_true", help="whether")
    shown = parser.format_help()
    assert "how large, in % (default: 3 4)" in shown and shown.count("default") == 1
    for words in (["--sizes", "0"], ["--none"]):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args(words)
        said = capsys.readouterr().err
        assert stopped.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
    assert said.startswith("error: unrecognized arguments: --none; see ")


@pytest.mark.parametrize("rank, said", [("0", 1), ("1", 0)])
def test_of_several_processes_the_first_tells_of_an_error_of_usage(monkeypatch, capsys, rank, said):
    monkeypatch.setattr(sys, "argv", ["train.py", "--launcher", "pytorch", "--none"])
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as stopped:
        ToolParser("Trains.").parse_args(["--none"])
    assert stopped.value.code == 2 and capsys.readouterr().err.count("error: ") == said


@pytest.mark.parametrize("name", ["file/x.png", "folder", "x.txt", "none/x.png"])
def test_an_output_is_tried_when_the_command_line_is_read(tmp_path, capsys, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    parser = ToolParser("Draws something.")
    add_picture_argument(parser, "x.png")
    words = ["--out", str(tmp_path / name)]
    if name.startswith("none"):  # a folder that can be made
        assert parser.parse_args(words).out == words[1]
    else:
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        assert str(tmp_path / name) in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]
