"""The command ``mmreid``: the tools of the repository by short names, from wherever the package is installed."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence

from mmreid_uda.utils.files import repository

from .arguments import ToolParser, at_least

__all__ = ["COMMANDS", "main", "without_folder"]

COMMANDS = {
    "train": ("train.py", "train a model"),
    "test": ("test.py", "evaluate a checkpoint"),
    "pipeline": ("pipeline.py", "train a model and, before it, the source runs it starts from"),
    "demo": ("demo.py", "adapt a network to rendered pedestrians, in minutes on a CPU"),
    "extract": ("extract_features.py", "write the features of images to a file"),
    "gallery": ("gallery.py", "add images to a gallery, search it, label and delete"),
    "serve": ("serve.py", "show a gallery and a run as a web page, with an HTTP API"),
    "tracks": ("data/import_tracks.py", "cut crops out of a video along the boxes of a tracker"),
    "render": ("data/render_synthetic.py", "draw people: data sets, or a video of several cameras"),
    "pack": ("data/pack.py", "put the images of a dataset into one file"),
    "check": ("data/check_dataset.py", "check a dataset before training on it"),
    "export": (
        "deploy/export.py",
        "export a model: ONNX, BoxMOT, Roboflow's reid, or a folder for a hub",
    ),
    "report": ("analysis/report.py", "write a page about a run"),
    "configs": ("configs.py", "list the configs there are"),
}
"""Command -> its file in ``tools/``, and what it does."""

_SEVERAL = ("train", "test")


def without_folder(words: Sequence[str]) -> list[str]:
    """Leave out the ``data`` of ``mmreid data pack``: tools of that folder may be called by it.

    Args:
        words: Behind ``mmreid``.

    Returns:
        Words that begin with a command, if it is one.
    """
    folder, command = [*words, "", ""][:2]
    named = command in COMMANDS and COMMANDS[command][0].startswith(f"{folder}/")
    return list(words[named:])


def main() -> None:
    """Run the tool of a command with the words that follow it."""
    parser = ToolParser(
        prog="mmreid",
        description="Re-identification without target labels.",
        epilog="`mmreid COMMAND --help` tells more. train and test take --processes N, too: GPUs, or CPU processes.",
        usage="mmreid COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_argument_group("commands")
    lines = (f"{name:10}{text}" for name, (_, text) in COMMANDS.items())
    commands.description = "\n".join(lines)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    words = without_folder(sys.argv[1:])
    command = parser.parse_args(words[:1]).command
    words = words[1:]
    tools = repository() / "tools"
    script = tools / COMMANDS[command][0]
    if command in _SEVERAL:
        several = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        several.add_argument("--processes", type=at_least(1), default=1)
        args, words = several.parse_known_args(words)
        if args.processes > 1 and words:
            words = [script.name, words[0], str(args.processes), *words[1:]]
            script = tools / "launch.py"
    ToolParser.program = f"mmreid {command}"
    sys.argv = [str(script), *words]
    sys.path.insert(0, str(script.parent))  # as `python SCRIPT` does: tools import their neighbours
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
