"""Search values of a config's keys with Optuna: each trial is a training of its own by tools/train.py.

A search space is written like ``--cfg-options``: ``key=low:high`` (whole numbers if both are), ``key=low:high:step``,
``key=log:low:high`` and ``key=choice:x,y``. The same command again goes on where the search stopped.

Examples:
    python tools/search_hparams.py configs/ise/ise_mbv2_synthb.py --metric synthb/mAP --trials 10 \
        --space clusterer.eps=0.4:0.7 optim_wrapper.optimizer.lr=log:1e-5:1e-3
    python tools/search_hparams.py configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py --metric syntha/mAP \
        --space model.teacher.alpha=choice:0.99,0.999 --cfg-options test=syntha
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmreid_uda.cli import (
    ToolParser,
    at_least,
    parse_options,
    run_command,
    run_tool,
    training_command,
    writable_folder,
)
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.files import open_arrays, read_results
from mmreid_uda.utils.packages import import_package

if TYPE_CHECKING:
    from mmengine.config import Config

TOOLS = Path(__file__).parent
# Figures of the clustering that are made with the true identities of the training images.
_WITH_IDENTITIES = ("nmi", "ari", "precision", "recall", "f_score", "purity")
_FORMS = "low:high, low:high:step, log:low:high or choice:x,y"


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; what is not ours goes to tools/train.py."""
    parser = ToolParser(
        description="Search values of a config's keys.",
        epilog="Further flags, such as --amp or --seed, are given to tools/train.py.",
    )
    parser.add_argument("config", help="config file of the trainings, or its name")
    parser.add_argument(
        "--space", nargs="+", required=True, metavar="KEY=RANGE", help=f"what to search: {_FORMS}"
    )
    parser.add_argument(
        "--metric",
        required=True,
        help="figure of the last epoch: <test set>/mAP and so on, or cluster/<figure of the pseudo-labels>",
    )
    parser.add_argument("--minimize", action="store_true", help="search for a small metric")
    parser.add_argument("--trials", type=at_least(1), default=20, help="trainings in all")
    parser.add_argument(
        "--sampler", choices=["tpe", "random"], default="tpe", help="how values are proposed"
    )
    parser.add_argument("--search-seed", type=int, default=0, help="seed of the proposals")
    parser.add_argument(
        "--work-dir",
        type=writable_folder,
        help="folder of the study (default: work_dirs/search/<config name>)",
    )
    parser.add_argument(
        "--processes", type=at_least(1), default=1, help="GPUs, or CPU processes, a trial"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="key=value pairs that all trials share"
    )
    return parser.parse_known_args()


# ---- what is searched


def read_space(items: Sequence[str]) -> dict[str, Any]:
    """Turn ``key=range`` texts into Optuna's distributions.

    Args:
        items: Such as ``'optim_wrapper.optimizer.lr=log:1e-5:1e-3'``.

    Returns:
        Key of the config -> distribution.

    Raises:
        InputError: A text is of none of the forms, or a key comes twice.
    """
    space: dict[str, Any] = {}
    for item in items:
        key, _, text = item.partition("=")
        try:
            if not key or key in space:
                raise ValueError("each key comes once")
            space[key] = _distribution(text)
        except ValueError as error:
            raise InputError(f"found {item!r} in --space, expected KEY={_FORMS}: {error}") from None
    return space


def _distribution(text: str) -> Any:
    distributions = _optuna().distributions
    if text.startswith("choice:"):
        # Commas inside brackets belong to a tuple.
        choices = re.split(r",(?![^(\[]*[)\]])", text.removeprefix("choice:"))
        return distributions.CategoricalDistribution(choices)
    log, parts = text.startswith("log:"), text.removeprefix("log:").split(":")
    whole = all(re.fullmatch(r"[+-]?\d+", part) for part in parts)
    numbers: list[Any] = [int(part) if whole else float(part) for part in parts]
    if len(numbers) not in ((2,) if log else (2, 3)) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{len(numbers)} numbers are given, or one is not finite")
    low, high, *step = numbers
    kind = distributions.IntDistribution if whole else distributions.FloatDistribution
    return kind(low, high, log, *step)


def as_options(params: Mapping[str, Any]) -> list[str]:
    """Values as ``--cfg-options`` writes them."""
    return [f"{key}={value}" for key, value in params.items()]


def check_config(config: str, space: Mapping[str, Any], options: Sequence[str]) -> Config:
    """Load the config with one value of each key, so that a misspelt key stops the search before it starts."""
    from mmreid_uda.config import load_config

    values = {
        key: one.choices[0] if hasattr(one, "choices") else one.low for key, one in space.items()
    }
    return load_config(config, parse_options([*options, *as_options(values)]))


def check_metric(cfg: Config, metric: str) -> None:
    """Stop the search before it starts where no training can have the metric.

    The figures themselves are known after a training: a wrong one can be corrected then.

    Raises:
        InputError: There is no test set of that name; or pseudo-labels are not made, or not kept.
    """
    loader, hook = cfg.get("val_dataloader"), cfg.default_hooks.get("cluster")
    sets = loader.dataset.get("sets") or [] if loader else []
    groups = [one if isinstance(one, str) else one.get("name") for one in sets]
    if hook is not None and hook.get("save_labels", True):
        groups.append("cluster")
    group, slash, _ = metric.partition("/")
    if not slash or (group not in groups and (group == "cluster" or None not in groups)):
        raise InputError(
            f"found --metric {metric}, expected a figure of {', '.join(f'{one}/...' for one in groups)}; name another, "
            "or change the test sets with --cfg-options test=..., or keep pseudo-labels with relabel.save_labels=True."
        )


def caution(cfg: Config, metric: str) -> str:
    """A sentence where the metric uses labels of the target that an unsupervised method must not see, else ''."""
    group, _, name = metric.partition("/")
    target = cfg.get("target")
    target = target.get("name") if isinstance(target, Mapping) else target
    if group == "cluster" and name in _WITH_IDENTITIES:
        return f"{metric} is measured with the true identities of the target's training images: not unsupervised."
    if target is not None and group == target:
        return f"{metric} is measured on the target's test set: values chosen by it are not unsupervised."
    return ""


# ---- one trial


def train(
    config: str, folder: Path, options: Sequence[str], flags: Sequence[str], processes: int
) -> str | None:
    """Train, or go on with an interrupted training, as from the command line; the output goes to ``train.log``.

    Returns:
        None, or the last line of the output if the training failed.
    """
    flags = ["--work-dir", str(folder), "--resume", *flags, "--cfg-options", *options]
    command = training_command(TOOLS, config, flags, processes)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "train.log"
    with log.open("a") as file:
        status = run_command(command, stdout=file, stderr=subprocess.STDOUT)
    if status == 0:
        return None
    if status in (129, 130, 143, -2):  # SIGHUP, SIGINT, SIGTERM
        raise KeyboardInterrupt
    return (log.read_text().strip().splitlines() or [f"exit status {status}"])[-1]


def read_metric(folder: Path, metric: str) -> float:
    """Read a figure of the last epoch.

    Args:
        folder: Work dir of a training.
        metric: A name in ``results.json`` such as ``'market1501/mAP'``, or ``'cluster/<name>'``: a figure of the last
            pseudo-labels that were saved.

    Raises:
        InputError: The training has no such figure.
    """
    if metric.startswith("cluster/"):
        files = sorted((folder / "pseudo_labels").glob("epoch_*.npz"))
        if not files:
            raise InputError(
                f"found no pseudo-labels in '{folder}', expected those that {metric} is a figure of; set "
                "relabel.save_labels=True, or take a metric of a test set."
            )
        expected = "expected what ClusterHook saves; train that trial again"
        with open_arrays(files[-1], "holds no pseudo-labels", expected) as content:
            found = json.loads(str(content["statistics"]))
        metrics = {f"cluster/{name}": value for name, value in found.items()}
    else:
        path = folder / "results.json"
        if not path.is_file():
            raise InputError(
                f"found no results.json in '{folder}', expected what ReportHook writes; leave default_hooks.report on."
            )
        results = read_results(path)
        metrics = results[max(results)] if results else {}
    if metric not in metrics:
        raise InputError(
            f"found no {metric!r} in '{folder}', expected one of {', '.join(metrics)}; set --metric."
        )
    return float(metrics[metric])


# ---- the study


def search(args: argparse.Namespace, space: Mapping[str, Any], flags: Sequence[str]) -> Any:
    """Run trials until the study has as many as wanted.

    The study is ``<work_dir>/study.db``; trial n trains in ``<work_dir>/trial_<n>``. Proposals depend on the seed and
    the trials before, so a search that is continued makes the proposals of one that was never stopped. A trial that was
    cut off is continued from its checkpoint.

    Args:
        args: Of the command line.
        space: Key -> distribution, see :func:`read_space`.
        flags: Further flags of tools/train.py.

    Returns:
        The ``optuna.study.Study``.

    Raises:
        InputError: The study in the folder is of another search, or the metric is unknown.
    """
    optuna = _optuna()
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    state = optuna.trial.TrialState
    study = _open_study(args, flags)
    while (done := len(study.get_trials(states=(state.COMPLETE, state.FAIL)))) < args.trials:
        number = int(make_rng(args.search_seed, "search", done).integers(2**31))
        study.sampler = samplers[args.sampler](seed=number)
        # A trial that was cut off before its values were drawn has nothing to go on with.
        cut_off = [one for one in study.get_trials(states=(state.RUNNING,)) if one.params]
        trial = cut_off[0] if cut_off else study.ask(dict(space))
        folder, values = Path(args.work_dir, f"trial_{trial.number:03d}"), as_options(trial.params)
        print(f"==> trial {done + 1} of {args.trials}: {' '.join(values)}", flush=True)
        error = train(args.config, folder, [*args.cfg_options, *values], flags, args.processes)
        value = math.nan if error else read_metric(folder, args.metric)
        if math.isfinite(value):
            study.tell(trial.number, value)
            print(f"    {args.metric} {value:.2f}", flush=True)
        else:
            study.tell(trial.number, state=state.FAIL)
            print(f"    failed: {error or f'{args.metric} is {value}'}", flush=True)
    return study


def _optuna() -> Any:
    optuna = import_package("optuna", "the search", "'mmreid_uda[tune]'")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _open_study(args: argparse.Namespace, flags: Sequence[str]) -> Any:
    """Open the study of a folder, or begin it, and note what is searched; refuse to mix two searches in one study.

    The metric may be corrected until a trial has come to an end: the trainings are those of the right one.
    """
    names = ("config", "space", "metric", "minimize", "cfg_options")
    settings = {**{name: getattr(args, name) for name in names}, "flags": list(flags)}
    folder = Path(args.work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    study = _optuna().create_study(
        storage=f"sqlite:///{folder.resolve() / 'study.db'}",
        study_name="search",
        direction="minimize" if args.minimize else "maximize",
        load_if_exists=True,
    )
    known = study.user_attrs.get("settings", settings)
    started = any(one.state.is_finished() for one in study.trials)
    for name, value in settings.items():
        if known[name] != value and (started or name != "metric"):
            raise InputError(
                f"found a study in '{folder}' with {name} {known[name]!r}, expected {value!r} to continue it; give the "
                "command that began it, or another --work-dir."
            )
    study.set_user_attr("settings", settings)
    return study


def main() -> None:
    """Search, and print the command of the best trial."""
    args, flags = parse_args()
    space = read_space(args.space)
    cfg = check_config(args.config, space, args.cfg_options)
    check_metric(cfg, args.metric)
    if note := caution(cfg, args.metric):
        print(f"Note: {note}", flush=True)
    args.work_dir = args.work_dir or str(Path("work_dirs", "search", Path(args.config).stem))
    study = search(args, space, flags)
    if all(one.value is None for one in study.trials):
        raise InputError(
            f"all {len(study.trials)} trials failed, expected one to succeed; see train.log in the folders of "
            f"'{args.work_dir}', and start again with another --work-dir."
        )
    best = study.best_trial
    options = shlex.join([*args.cfg_options, *as_options(best.params)])
    print(f"best: trial {best.number}, {args.metric} {best.value:.2f}")
    print(f"best: python tools/train.py {args.config} --cfg-options {options}")


if __name__ == "__main__":
    run_tool(main, resume="the same command goes on where the search stopped")
