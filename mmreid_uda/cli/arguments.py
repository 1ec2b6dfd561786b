"""Arguments that several tools share, and what they name."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from annotated_types import Ge

from mmreid_uda.utils import InputError, loading_processes
from mmreid_uda.utils.choices import SPLITS, Part
from mmreid_uda.utils.files import (
    is_pretrained,
    require_suffix,
    require_writable,
    require_writable_folder,
)
from mmreid_uda.utils.values import Misfit, Positive, fit

from .options import OptionsAction

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmreid_uda.apis import FeatureSet, ReIDInferencer
    from mmreid_uda.apis.inputs import NamedImages

__all__ = [
    "PICTURES",
    "RANK_VARIABLES",
    "ToolParser",
    "add_config_options",
    "add_feature_arguments",
    "add_image_options",
    "add_inferencer_arguments",
    "add_launcher",
    "add_picture_argument",
    "add_time_prior",
    "at_least",
    "begun_first",
    "features_of_arguments",
    "images_of_arguments",
    "inferencer_of_arguments",
    "number",
    "time_prior_of_arguments",
    "writable",
    "writable_folder",
]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Names that :func:`~mmreid_uda.visualization.write_picture` can write end in one of these."""

RANK_VARIABLES = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
"""Launcher -> where it says which of several processes this one is."""


def begun_first() -> bool:
    """Whether this is the first of several processes, as launcher and command line tell before anything is loaded.

    Returns:
        True for a process that no launcher has started.
    """
    flags = [word.removeprefix("--launcher=") for word in sys.argv]
    variables = [name for launcher, name in RANK_VARIABLES.items() if launcher in flags]
    return all(os.environ.get(name, "0") == "0" for name in variables)


class ToolParser(argparse.ArgumentParser):
    """The command line of a tool: ``--help`` ends each option with its default, an error of usage is one sentence.

    A default of None, False or nothing at all is not shown: the help of such an option says itself what is done without
    it.

    Args:
        description: What the tool does, one sentence.
        **kwargs: For ``argparse.ArgumentParser``.
    """

    program: str | None = None
    """What the user has called, where it is not the tool's file."""

    def __init__(self, description: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _HelpWithDefaults)
        kwargs.setdefault("prog", self.program)
        super().__init__(description=description, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print one sentence, of several processes that one launcher has started the first alone; end with status 2."""
        if not begun_first():
            self.exit(2)
        self.exit(2, f"error: {message.rstrip('.')}; see {self.prog} --help.\n")

    def add_config(self, what: str = "config file, or its name") -> None:
        """Let a tool begin with a config; ``--model NAME`` is another way to write that argument.

        Args:
            what: What it is, for ``--help``.
        """
        self.add_argument("config", help=what)
        self.add_argument(
            "--model", metavar="NAME", help="the config by its name, in place of the first argument"
        )

    def add_model(self) -> None:
        """Let a tool begin with a config and a checkpoint; an address, or a folder of weights, alone says both."""
        self.add_argument(
            "config",
            help="config file, or its name; or rendered://mobilenet_v2 or a folder of `mmreid export --to pretrained`, "
            "which is all then",
        )
        self.add_argument("checkpoint", help="checkpoint file, or folder of a run")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read ``--model NAME`` as the first argument, and what has its weights there as the checkpoint, too."""
        words = list(sys.argv[1:] if args is None else args)
        # Where a checkpoint may be left out, the config of the address names it.
        needed = any(one.dest == "checkpoint" and one.nargs is None for one in self._actions)
        if needed and words and ("://" in words[0] or is_pretrained(words[0])):
            words.insert(0, words[0])
        if "--model" in words[:-1] and "--model" in self._option_string_actions:
            place = words.index("--model")
            words = [words[place + 1], *words[:place], *words[place + 2 :]]
        return super().parse_known_args(words, namespace)


class _HelpWithDefaults(argparse.HelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        default, text = action.default, action.help or ""
        silent = default is None or default is False or default == argparse.SUPPRESS
        if silent or default in ([], ()) or "(default" in text or action.help == argparse.SUPPRESS:
            return action.help
        values = default if isinstance(default, (list, tuple)) else [default]
        shown = " ".join(map(str, values)).replace("%", "%%")
        return f"{text} (default: {shown})".lstrip()


def at_least(low: int) -> Callable[[str], int]:
    """A ``type`` of ``add_argument``: whole numbers from a lowest one on; others are an error of usage.

    Args:
        low: The lowest.

    Returns:
        A function that reads a word of the command line.
    """
    return number(Annotated[int, Ge(low)])


def number(annotation: Any) -> Callable[[str], Any]:
    """A ``type`` of ``add_argument``: numbers that an annotation allows; others are an error of usage.

    Args:
        annotation: As for arguments of functions, such as ``Fraction`` of :mod:`mmreid_uda.utils.values`.

    Returns:
        A function that reads a word of the command line.
    """

    def read(text: str) -> Any:
        value: Any = text
        for kind in (float, int):
            with contextlib.suppress(ValueError):
                value = kind(text)
        try:
            return fit(value, annotation)
        except Misfit as misfit:
            raise argparse.ArgumentTypeError(
                f"found {text!r}, expected {misfit.expected}."
            ) from None

    return read


def writable(*suffixes: str) -> Callable[[str], str]:
    """A ``type`` of ``add_argument``: a file that can be written, found out before any work; nothing is left there.

    Args:
        *suffixes: Allowed ends of the name; none allows any.

    Returns:
        A function that checks a word of the command line, and gives it back.
    """

    def read(text: str) -> str:
        try:
            if suffixes:
                require_suffix(text, *suffixes)
            require_writable(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return text

    return read


def writable_folder(text: str) -> str:
    """A ``type`` of ``add_argument``: as :func:`writable`, a folder that many files go to.

    Args:
        text: A word of the command line.

    Returns:
        The same.
    """
    try:
        require_writable_folder(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def add_picture_argument(parser: argparse.ArgumentParser, name: str) -> None:
    """Let a tool say where its picture goes: ``--out``.

    Args:
        parser: The tool's.
        name: File in ``work_dirs`` that it goes to by default.
    """
    parser.add_argument(
        "--out", type=writable(*PICTURES), default=f"work_dirs/{name}", help="picture to write"
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Let a tool be one of several processes: the flags by which a launcher tells it so.

    Args:
        parser: The tool's.
    """
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what has started the processes; tools/dist_*.sh and slurm_train.sh give it",
    )
    parser.add_argument(
        "--local_rank", "--local-rank", type=int, default=0, help="GPU of this process"
    )


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Let a tool change its config: ``--cfg-options``, dotted keys -> values.

    Args:
        parser: The tool's.
    """
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=OptionsAction,
        help="key=value pairs merged into the config",
    )


def add_inferencer_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a tool say where and how a model computes, and change its config.

    Args:
        parser: The tool's.
    """
    parser.add_argument("--device", help="such as cuda:0 (default: a GPU if there is one)")
    parser.add_argument("--batch-size", type=at_least(1), default=64, help="images a forward pass")
    parser.add_argument(
        "--num-workers",
        type=at_least(0),
        help="loading processes (default: as many as the cores allow, at most 8)",
    )
    add_config_options(parser)


def inferencer_of_arguments(
    args: argparse.Namespace, config: str, checkpoint: str
) -> ReIDInferencer:
    """Load a model as the arguments of :func:`add_inferencer_arguments` say.

    Args:
        args: Parsed arguments.
        config: File of the config, or its name.
        checkpoint: File, or folder of a run.

    Returns:
        The model, ready to compute features.
    """
    from mmreid_uda.apis import ReIDInferencer

    return ReIDInferencer(
        config,
        checkpoint,
        args.device,
        options=args.cfg_options,
        batch_size=args.batch_size,
        num_workers=loading_processes(args.num_workers),
    )


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Let a tool read images of datasets, and leave out those that cannot be read.

    Args:
        parser: The tool's.
    """
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help="split of datasets, which the inputs then name (default: gallery, of names that are no files)",
    )
    parser.add_argument(
        "--corrupt",
        choices=("raise", "skip"),
        default="raise",
        help="stop at an image that cannot be read, or leave it out and name it",
    )


def images_of_arguments(args: argparse.Namespace, cfg: Config, names: Sequence[str]) -> NamedImages:
    """Find the images that the arguments of :func:`add_image_options` name; those left out are listed on stderr.

    Args:
        args: Parsed arguments.
        cfg: The model's config, whose datasets are known by name.
        names: Files, folders, or datasets.

    Returns:
        Their files and names.
    """
    from mmreid_uda.apis.inputs import name_images

    skipped: list[str] = []
    images = name_images(cfg, names, args.split, skipped if args.corrupt == "skip" else None)
    for path in skipped:
        print(f"skipped, cannot be read: {path}", file=sys.stderr)
    return images


def add_time_prior(parser: argparse.ArgumentParser) -> None:
    """Let a tool rank by the time between cameras as well; :func:`time_prior_of_arguments` reads what is said.

    Args:
        parser: The tool's.
    """
    parser.add_argument(
        "--time-prior",
        metavar="RUN",
        help="also rank by how long the way between cameras takes, as pseudo-labels of this run (or file) tell",
    )
    positive = number(Positive)
    parser.add_argument("--bin-seconds", type=positive, help="bins of the time prior (default: 4)")
    parser.add_argument("--num-bins", type=at_least(1), help="their number (default: 5000)")
    parser.add_argument(
        "--bandwidth", type=positive, help="bins by which it is smoothed (default: 50)"
    )
    parser.add_argument(
        "--period", type=positive, help="seconds after which the clock of the times begins anew"
    )


def time_prior_of_arguments(args: argparse.Namespace) -> dict[str, Any] | None:
    """Options of :meth:`TimePrior.of_run` that the arguments of :func:`add_time_prior` name.

    Args:
        args: Parsed arguments.

    Returns:
        The options; None without a prior.

    Raises:
        InputError: There are options of a prior, and none.
    """
    names = "bin_seconds", "num_bins", "bandwidth", "period"
    said = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.time_prior is not None:
        return dict(labels=args.time_prior, **said)
    if said:
        option = next(iter(said)).replace("_", "-")
        raise InputError(
            f"found --{option} without --time-prior, expected a run whose labels tell the times between cameras: add "
            f"--time-prior RUN, or leave --{option} out."
        )
    return None


def add_feature_arguments(parser: argparse.ArgumentParser, part: Part | None = None) -> None:
    """Let a tool take a config and a checkpoint, or a file of features.

    Args:
        parser: The tool's.
        part: Images that are taken unless ``--part`` says otherwise; None leaves that option out.
    """
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="config and checkpoint (or folder of a run); or an .npz file of tools/extract_features.py",
    )
    if part is not None:
        parser.add_argument(
            "--part",
            choices=("train", "test"),
            default=part,
            help=f"images of the config: target's training images, or first test set (default: {part})",
        )
    add_inferencer_arguments(parser)


def features_of_arguments(args: argparse.Namespace, part: Part | None = None) -> FeatureSet:
    """Load or compute what the arguments of :func:`add_feature_arguments` name.

    Args:
        args: Parsed arguments.
        part: Images of the config, where the tool has no ``--part``. Two files of features are then queries and
            gallery.

    Returns:
        Features of the images.

    Raises:
        InputError: The inputs are neither a config with a checkpoint nor files of features.
    """
    from mmreid_uda.apis import FeatureSet

    files = [name.endswith(".npz") for name in args.inputs]
    if all(files) and len(files) == (2 if part == "test" else 1):
        query, *gallery = (FeatureSet.load(name) for name in args.inputs)
        return query.joined(gallery[0]) if gallery else query
    if any(files) or len(files) != 2:
        expected = "two .npz files (queries, gallery)" if part == "test" else "one .npz file"
        raise InputError(
            f"found {' '.join(args.inputs)!r} as inputs, expected a config and a checkpoint, or {expected} of "
            "tools/extract_features.py."
        )
    return FeatureSet.extract(inferencer_of_arguments(args, *args.inputs), part or args.part)
