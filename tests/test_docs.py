"""Every example of the documentation is real: configs load and build, commands and links exist."""

import argparse
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from unittest.mock import patch

import pytest

from mmreid_uda.cli import parse_options
from mmreid_uda.cli.main import COMMANDS, without_folder
from mmreid_uda.config import load_config
from mmreid_uda.datasets.catalog import DATASET_CATALOG
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/**/*.md",
        "configs/*/README.md",
        "projects/**/*.md",
    )
    for path in REPOSITORY.glob(pattern)
    if "_generated" not in path.parts  # copies that `make docs` leaves
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)")
PATH_COMMENT = re.compile(r"# ((?:configs|projects)/\S+\.py)\n")
# Shown, not run: layouts and messages, citations.
PROSE = ("text", "bibtex")
# Models that mention one of these are built only where its package is installed.
OPTIONAL = {
    "TimmBackbone": "timm",
    "mmpretrain.": "mmpretrain",
    "InfoMap": "infomap",
}

documents = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY))
)


@pytest.fixture
def farm(tmp_path, monkeypatch):
    """A copy of what examples refer to, as the working folder; new files do not touch the repository."""
    for name in ("configs", "projects"):
        shutil.copytree(
            REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("tools", "requirements", "Makefile", "pyproject.toml"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with patch.dict(DATASET_CATALOG):
        yield tmp_path


@documents
def test_every_example_of_a_document_works(document, farm, monkeypatch):
    for language, text in FENCE.findall(document.read_text()):
        if language == "python":
            check_python(text)
        elif language == "bash":
            for line in commands(text):
                check_command(line, monkeypatch)
        else:
            assert language in PROSE, f"nobody checks a block of language {language!r}:\n{text}"


@documents
def test_every_link_of_a_document_leads_somewhere(document):
    links = LINK.findall(FENCE.sub("", document.read_text()))
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in local if not (document.parent / link).exists()] == []


# ---- python


def check_python(text):
    """Run an example, or write it to the path in its first line and load and build it if it is a config."""
    named = PATH_COMMENT.match(text)
    if named is None:
        exec(compile(text, "example", "exec"), {"__name__": "example"})
        return
    path = Path(named[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    assert not path.exists(), f"{path} is a file of the repository; show it under another name"
    path.write_text(text)
    if "configs" not in path.parts:
        compile(text, str(path), "exec")  # imported by the config that uses it
        return
    assert path.stem.count("_") == 2, "<method>[-<variant>]_<backbone>_<data>.py"
    cfg = load_config(path)
    needed = [package for word, package in OPTIONAL.items() if word in text]
    if all(importlib.util.find_spec(package) for package in needed):
        MODELS.build(cfg.model)


# ---- bash


def commands(text):
    """Command lines as lists of words, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check_command(words, monkeypatch):
    """Check a command line without running it; one that no rule knows fails."""
    program, *rest = words
    name = Path(program).name
    if program == "make":
        subprocess.run(["make", "-n", *rest], check=True, capture_output=True)
    elif name == "python" and rest[0].startswith("tools/"):
        check_tool(rest[0], rest[1:], monkeypatch)
    elif program == "mmreid":
        flags = argparse.ArgumentParser(add_help=False)
        flags.add_argument("--processes", type=int, default=1)
        command, *rest = without_folder(rest)
        args, words = flags.parse_known_args(rest)
        check_tool(f"tools/{COMMANDS[command][0]}", words, monkeypatch, args.processes)
    elif program == "tools/dist_train.sh":
        config, processes, *flags = rest
        check_tool("tools/train.py", [config, *flags], monkeypatch, int(processes))
    elif program == "tools/dist_test.sh":
        config, checkpoint, processes, *flags = rest
        check_tool("tools/test.py", [config, checkpoint, *flags], monkeypatch, int(processes))
    elif program == "curl":
        check_curl(rest)
    elif name == "pip" and rest[0] == "install":
        check_pip(rest[1:])
    else:
        assert name == "python3" and rest[:2] == ["-m", "venv"], f"no rule checks {words}"


def check_tool(script, arguments, monkeypatch, world_size=1):
    """The tool knows the flags, and its config loads with the options."""
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.syspath_prepend(str(Path(script).parent))  # a script finds its neighbours
    tool = load_tool(script)
    parsed = tool.parse_args()
    # Some tools give what is not theirs to tools/train.py.
    args, passed = parsed if isinstance(parsed, tuple) else (parsed, [])
    if passed:
        check_tool("tools/train.py", [args.config, *passed], monkeypatch)
    if hasattr(args, "space"):
        tool.check_config(args.config, tool.read_space(args.space), args.cfg_options)
    elif getattr(args, "config", None) is not None:
        options = getattr(args, "cfg_options", None)
        options = parse_options(options) if isinstance(options, list) else options
        load_config(args.config, options, world_size)


def load_tool(script):
    spec = importlib.util.spec_from_file_location(f"tool_{Path(script).stem}", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_curl(words):
    """Check that an address of the server is one of its routes, and that what is sent is JSON of its type."""
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from mmreid_uda.serve import create_app

    curl = argparse.ArgumentParser(add_help=False)
    for flag in ("-F", "-H"):
        curl.add_argument(flag, action="append", default=[])
    for flag in ("-X", "--json", "-o"):
        curl.add_argument(flag)
    curl.add_argument("url")
    args = curl.parse_args(words)
    method = args.X or ("POST" if args.F or args.json else "GET")
    fields = dict(one.split("=", 1) for one in args.F)
    sent = {
        "files": {name: b"x" for name, value in fields.items() if value.startswith("@")} or None,
        "data": {name: value for name, value in fields.items() if not value.startswith("@")},
    }
    if args.json:
        sent = {"content": args.json, "headers": {"content-type": "application/json"}}
    client = TestClient(create_app(None, None, None), base_url=args.url.partition("/v1")[0])
    answer = client.request(method, args.url, **sent)
    # Right but for what is not there: a gallery, clusters, a model.
    said = answer.json().get("error", "")
    assert answer.is_success or re.match("found no (gallery|clusters|model)", said), said


def check_pip(arguments):
    """Named files exist, and so do the extras of this package."""
    extras = metadata("mmreid_uda").get_all("Provides-Extra")
    for flag, value in zip(arguments, [*arguments[1:], ""]):
        if flag in ("-r", "-c"):
            assert Path(value).is_file()
        if found := re.fullmatch(r"\.\[(.+)\]", flag):
            assert set(found[1].split(",")) <= set(extras)


# ---- the checks themselves

NOTICED = (AssertionError, InputError, SystemExit, subprocess.CalledProcessError)


@pytest.mark.parametrize(
    "line",
    [
        "make nonsense",
        "python tools/train.py configs/none.py",
        "python tools/train.py configs/ise/ise_r50_market.py --nonsense",
        "python tools/train.py configs/ise/ise_r50_market.py --cfg-options model.nonsense=1",
        "mmreid train ise_r50_market --processes 3",
        "mmreid train ise_r50_market --nonsense",
        "python tools/pipeline.py configs/none.py",
        "python tools/pipeline.py configs/mmt/mmt-dbscan_r50_duke2market.py --nonsense",
        "python tools/search_hparams.py configs/ise/ise_mbv2_synthb.py --metric a --space model.nonsense=0:1",
        "tools/dist_train.sh configs/ise/ise_r50_market.py 3",
        "pip install -r requirements/none.txt",
        "pip install '.[none]'",
        "rm -rf data",
    ],
)
def test_a_wrong_command_is_noticed(line, farm, monkeypatch):
    [words] = commands(line)
    with pytest.raises(NOTICED):
        check_command(words, monkeypatch)
