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
import time
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
from mmreid_uda.utils.files import atomic_path, open_arrays, read_results
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


# ---- the search space


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
        key, equals, text = item.partition("=")
        if not (equals and key) or key in space:
            raise InputError(
                f"found {item!r} in --space{' again' if key in space else ''}, expected KEY={_FORMS} once for each key."
            )
        try:
            space[key] = _distribution(text)
        except ValueError as error:
            raise InputError(
                f"found the range {text!r} of {key} in --space, expected {_FORMS}: {error}"
            ) from None
    return space


def _distribution(text: str) -> Any:
    from optuna import distributions

    if text.startswith("choice:"):
        # Commas inside brackets belong to a tuple.
        choices = re.split(r",(?![^(\[]*[)\]])", text.removeprefix("choice:"))
        return distributions.CategoricalDistribution(choices)
    log, parts = text.startswith("log:"), text.removeprefix("log:").split(":")
    whole = all(re.fullmatch(r"[+-]?\d+", part) for part in parts)
    numbers: list[Any] = [int(part) if whole else float(part) for part in parts]
    if len(numbers) not in ((2,) if log else (2, 3)) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{len(numbers)} numbers are given, or one is not finite.")
    low, high, *step = numbers
    if whole:
        return distributions.IntDistribution(low, high, log, *step)
    return distributions.FloatDistribution(low, high, log, *step)


def as_options(params: Mapping[str, Any]) -> list[str]:
    """Values as ``--cfg-options`` writes them."""
    return [
        f"{key}={value if isinstance(value, str) else repr(value)}" for key, value in params.items()
    ]


def check_config(config: str, space: Mapping[str, Any], options: Sequence[str]) -> Config:
    """Load the config with one value of each key, so that a misspelt key stops the search before it starts."""
    from mmreid_uda.config import load_config

    values = {
        key: one.choices[0] if hasattr(one, "choices") else one.low for key, one in space.items()
    }
    return load_config(config, parse_options([*options, *as_options(values)]))


def check_metric(cfg: Config, metric: str) -> None:
    """Stop the search before it starts where no training can have the metric.

    Which figures a clusterer or another evaluator than ``ReIDMetric`` gives is known after a training alone.

    Raises:
        InputError: There is no test set of that name, or no such figure; or pseudo-labels are not made, or not kept.
    """
    if metric.startswith("cluster/"):
        hook = cfg.default_hooks.get("cluster")
        if hook is None or not hook.get("save_labels", True):
            raise InputError(
                f"found --metric {metric} and no pseudo-labels that a training keeps, expected a config with "
                "a clusterer and relabel.save_labels=True; or take a metric of a test set."
            )
        return
    known = _metrics(cfg)
    if known and metric not in known:
        raise InputError(
            f"found no {metric!r} among the figures of the test sets, expected one of {', '.join(known)}, or "
            "cluster/<figure of the pseudo-labels>; set --metric."
        )


def _metrics(cfg: Config) -> list[str]:
    """Names of the figures that a training evaluates, asked of the evaluator; none where they cannot be told."""
    import torch

    from mmreid_uda.config import require_tests
    from mmreid_uda.registry import METRICS

    require_tests(cfg, "compare trials by a figure of the pseudo-labels, --metric cluster/...")
    sets = cfg.val_dataloader.dataset.get("sets") or []
    names = [one if isinstance(one, str) else one.get("name") for one in sets]
    evaluator = cfg.val_evaluator
    if None in names or not isinstance(evaluator, Mapping) or evaluator["type"] != "ReIDMetric":
        return []
    metric = METRICS.build({**evaluator, "dump_features": None, "device": "cpu"})
    metric.dataset_meta = {"set_names": names}
    # Two people, each once as a query and once, by another camera, in the gallery: pid, camera, query, gallery, set.
    labels = torch.tensor(
        [
            [person, camera, 1 - camera, camera, number]
            for number in range(len(names))
            for camera in (0, 1)
            for person in (0, 1)
        ]
    )
    columns = torch.cat([labels, torch.arange(len(labels))[:, None]], 1)
    found = metric.compute_metrics([(torch.eye(4)[columns[:, 0]], columns)])
    return [f"{metric.prefix}/{name}" if metric.prefix else name for name in found]


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


def search(
    args: argparse.Namespace, space: Mapping[str, Any], flags: Sequence[str], note: str
) -> Any:
    """Run trials until the study has as many as wanted.

    The study is ``<work_dir>/study.db``; trial n trains in ``<work_dir>/trial_<n>``. Proposals depend on the seed and
    the trials before, so a search that is continued makes the proposals of one that was never stopped. A trial that was
    cut off is continued from its checkpoint.

    Args:
        args: Of the command line.
        space: Key -> distribution, see :func:`read_space`.
        flags: Further flags of tools/train.py.
        note: A sentence to put above the table.

    Returns:
        The ``optuna.study.Study``.

    Raises:
        InputError: The study in the folder is of another search, or the metric is unknown.
    """
    optuna = _optuna()
    study = _open_study(args, space, flags)
    _requeue(study)
    kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    while (done := len(_finished(study))) < args.trials:
        number = int(make_rng(args.search_seed, "search", done).integers(2**31))
        study.sampler = kinds[args.sampler](seed=number)
        trial = study.ask(dict(space))
        place = trial.user_attrs.get("place", done)
        trial.set_user_attr("place", place)
        folder, values = Path(args.work_dir, f"trial_{place:03d}"), as_options(trial.params)
        print(f"==> trial {done + 1} of {args.trials}: {' '.join(values)}", flush=True)
        started = time.monotonic()
        error = train(args.config, folder, [*args.cfg_options, *values], flags, args.processes)
        value = math.nan if error else read_metric(folder, args.metric)
        trial.set_user_attr("seconds", round(time.monotonic() - started, 1))
        if math.isfinite(value):
            study.tell(trial, value)
        else:
            trial.set_user_attr("error", error or f"{args.metric} is {value}")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        print(f"    failed: {error}" if error else f"    {args.metric} {value:.2f}", flush=True)
        with atomic_path(Path(args.work_dir, "trials.md")) as path:
            path.write_text(f"{note}\n\n{table(study, args.metric)}\n".lstrip())
    return study


def _optuna() -> Any:
    optuna = import_package("optuna", "the search", "'mmreid_uda[tune]'")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _open_study(args: argparse.Namespace, space: Mapping[str, Any], flags: Sequence[str]) -> Any:
    """Open the study of a folder, or begin it, and note what is searched; refuse to mix two searches in one study.

    Mistakes may be mended: of the metric as long as no trial has come to an end (the trainings are those of the right
    one), of anything as long as no training has begun.
    """
    optuna = _optuna()
    settings = {
        name: getattr(args, name) for name in ("config", "metric", "minimize", "cfg_options")
    }
    settings |= dict(space={key: repr(one) for key, one in space.items()}, flags=list(flags))
    folder = Path(args.work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    place = dict(storage=f"sqlite:///{folder.resolve() / 'study.db'}", study_name="search")
    direction = "minimize" if args.minimize else "maximize"
    study = optuna.create_study(**place, direction=direction, load_if_exists=True)
    known = study.user_attrs.get("settings", settings)
    changed = [name for name, value in settings.items() if known.get(name) != value]
    begun = any(folder.glob("trial_*"))
    if changed and begun and (changed != ["metric"] or _finished(study)):
        name = changed[0]
        raise InputError(
            f"found a study in '{folder}' with {name} {known.get(name)!r}, expected {settings[name]!r} to continue "
            "it; give the command that began it, or another --work-dir."
        )
    if changed and not begun:
        optuna.delete_study(**place)
        study = optuna.create_study(**place, direction=direction)
    study.set_user_attr("settings", settings)
    return study


def _requeue(study: Any) -> None:
    """Put trials that were cut off at the head of the queue, with their values and folders."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        # Cut off before the values were drawn: nothing to go on with.
        if trial.params:
            study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)


def _finished(study: Any) -> list[Any]:
    """Trials that came to an end of their own, good or bad."""
    return [one for one in study.trials if one.value is not None or "error" in one.user_attrs]


def table(study: Any, metric: str) -> str:
    """A Markdown table: a line per trial in the order of the trainings, the best one marked."""
    trials = _finished(study)
    keys = list(dict.fromkeys(key for one in trials for key in one.params))
    best = study.best_trial.number if any(one.value is not None for one in trials) else None
    rows = [["trial", metric, *(f"`{key}`" for key in keys), "seconds"]]
    for one in trials:
        values = [one.params[key] for key in keys]
        rows.append(
            [
                f"{one.user_attrs['place']}{' (best)' if one.number == best else ''}",
                "failed" if one.value is None else f"{one.value:.2f}",
                *(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values),
                f"{one.user_attrs['seconds']:.0f}",
            ]
        )
    head, *lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *lines])


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


def main() -> None:
    """Search, print the table and the command of the best trial."""
    args, flags = parse_args()
    _optuna()
    space = read_space(args.space)
    cfg = check_config(args.config, space, args.cfg_options)
    check_metric(cfg, args.metric)
    if note := caution(cfg, args.metric):
        print(f"Note: {note}", flush=True)
    args.work_dir = args.work_dir or str(Path("work_dirs", "search", Path(args.config).stem))
    study = search(args, space, flags, note)
    print(table(study, args.metric))
    if all(one.value is None for one in _finished(study)):
        raise InputError(
            f"all {len(_finished(study))} trials failed, expected one to succeed; see train.log in the folders of "
            f"'{args.work_dir}', and start again with another --work-dir."
        )
    best = shlex.join([*args.cfg_options, *as_options(study.best_params)])
    print(f"best: python tools/train.py {args.config} --cfg-options {best}")


if __name__ == "__main__":
    run_tool(main, resume="the same command goes on where the search stopped")
