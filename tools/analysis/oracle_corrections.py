"""What are answers worth? Somebody who knows the truth answers questions about clusters; how good are the labels then?

After every few answers the images are clustered anew, with the same features. "Ask me" stands beside random pairs: an
image and one of its nearest ('random'), and any two images ('uniform'). The page asks a person the same questions. Each
seed looks at another nine tenths of the images. With --write-links the answers of one seed, about all images, are kept,
for a training that is to be compared with one without.

Examples:
    python tools/analysis/oracle_corrections.py cluster-contrast_mbv2_cameras --cfg-options target=synthd --out d.json
    python tools/analysis/oracle_corrections.py work_dirs/my_run --rules ask_me random --seeds 1 --out my_run.json
    python tools/analysis/oracle_corrections.py --draw d.json my_run.json --picture answers.png
    python tools/analysis/oracle_corrections.py work_dirs/my_run --rules ask_me --seeds 1 --write-links links.csv
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmreid_uda.cli import (
    PICTURES,
    ToolParser,
    add_config_options,
    at_least,
    number,
    run_tool,
    writable,
)
from mmreid_uda.utils.values import PositiveFraction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mmreid_uda.review import Review, Rule

__all__ = ["answer_questions", "draw_answers", "table"]

RULES = {
    "ask_me": "ask me",
    "random": "an image and one of its nearest",
    "uniform": "any two images",
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Measure what answers to questions about clusters are worth.")
    parser.add_argument("source", nargs="?", help="config, by path or name; or folder of a run")
    parser.add_argument("--checkpoint", help="of a config (default: what a training starts from)")
    parser.add_argument("--name", help="of the images, for the picture (default: the target's)")
    parser.add_argument(
        "--answers",
        type=at_least(0),
        nargs="+",
        default=[0, 20, 50, 100, 200],
        help="where to measure",
    )
    parser.add_argument(
        "--batch", type=at_least(1), default=10, help="answers between two clusterings"
    )
    parser.add_argument("--rules", nargs="+", choices=list(RULES), default=list(RULES))
    parser.add_argument("--seeds", type=at_least(0), nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--share",
        type=number(PositiveFraction),
        default=0.9,
        help="of the images, drawn anew for each seed",
    )
    parser.add_argument("--out", type=writable(".json"), help="JSON file to write")
    parser.add_argument("--cache", help="folder to keep the features in")
    parser.add_argument(
        "--write-links",
        type=writable(".csv"),
        help="keep the answers of the first seed and rule here",
    )
    parser.add_argument("--draw", nargs="+", default=[], help="only draw such JSON files")
    parser.add_argument(
        "--picture", type=writable(*PICTURES), default="work_dirs/answers.png", help="of --draw"
    )
    add_config_options(parser)
    return parser.parse_args()


def answer_questions(
    review: Review, rule: Rule, answers: Sequence[int], batch: int, seed: int
) -> list[dict[str, float]]:
    """Answer questions by the true identities, and cluster anew after every batch.

    Args:
        review: With identities; its links are written. Its labels are made anew first.
        rule: By which questions are chosen.
        answers: Numbers of answers, ascending, after which the labels are looked at.
        batch: Answers between two clusterings.
        seed: Of the questions.

    Returns:
        For each number: ``answers`` (given, fewer where no question is left), ``f_score``, ``ari`` with outliers as
        clusters of one, ``same`` (share of the answers), ``clusters``, ``seconds`` of choosing questions, each.
    """
    from mmreid_uda.clustering import cluster_quality, label_agreement

    truth = review.identities
    assert truth is not None
    known = truth >= 0
    review.recluster()
    given, same, spent, found = 0, 0, 0.0, []
    for goal in answers:
        while given < goal:
            started = time.perf_counter()
            questions = review.questions(min(batch, goal - given), rule, seed)
            spent += time.perf_counter() - started
            told = [one for one in questions if known[one.first] and known[one.second]]
            if not told:
                break
            for one in told:
                is_same = bool(truth[one.first] == truth[one.second])
                review.answer(one.first, one.second, is_same, author="oracle")
                same += is_same
            given += len(told)
            review.recluster()
        labels = review.labels
        found.append(
            dict(
                answers=float(given),
                f_score=cluster_quality(labels, truth)["f_score"],
                ari=label_agreement(labels[known], truth[known]),
                same=same / max(given, 1),
                clusters=float(labels.max() + 1),
                seconds=spent / max(given, 1),
            )
        )
    return found


def some_of(review: Review, share: float, seed: int, links: Path) -> Review:
    """The same review of a part of the images.

    Args:
        review: Of all of them, without links.
        share: Of the images, 0..1.
        seed: Of the draw.
        links: File that answers go to.

    Returns:
        A review with a clusterer in the same state.
    """
    from mmreid_uda.review import Review
    from mmreid_uda.structures import Evidence
    from mmreid_uda.utils import make_rng

    num = max(2, round(share * len(review)))
    kept = np.sort(make_rng(seed, "images").choice(len(review), num, replace=False))
    told, truth = review.evidence, review.identities
    evidence = Evidence(
        told.cameras[kept], told.times[kept], told.tracklets[kept], camera_names=told.camera_names
    )
    assert review.clustering is not None and truth is not None
    clustering = dataclasses.replace(review.clustering)
    # Where tracklets were cut belongs to all images.
    clustering.clustering.switches = None
    return Review(
        review.features[kept],
        [review.paths[one] for one in kept],
        review.labels[kept],
        evidence,
        links,
        review.root,
        clustering,
        truth[kept],
    )


def table(results: Sequence[dict[str, Any]]) -> str:
    """The measurements as a Markdown table: mean ± standard deviation over the seeds.

    Args:
        results: What JSON files hold.

    Returns:
        The table.
    """
    numbers = results[0]["answers"]
    lines = [
        "| images | questions | figure | " + " | ".join(f"{one} answers" for one in numbers) + " |",
        "|---" * (3 + len(numbers)) + "|",
    ]
    for result in results:
        for rule, runs in result["rules"].items():
            for figure, name in (("f_score", "F"), ("ari", "ARI")):
                values = np.array([[one[figure] for one in run] for run in runs])
                cells = [
                    f"{mean:.3f} ± {deviation:.3f}"
                    for mean, deviation in zip(
                        values.mean(0), values.std(0, ddof=min(1, len(values) - 1))
                    )
                ]
                lines.append(
                    f"| {result['name']} | {RULES[rule]} | {name} | " + " | ".join(cells) + " |"
                )
    return "\n".join(lines)


def draw_answers(results: Sequence[dict[str, Any]]) -> Figure:
    """Draw F over the number of answers, a panel for each set of images; bands are the seeds' standard deviation.

    Args:
        results: What JSON files hold.

    Returns:
        The figure.
    """
    from mmreid_uda.visualization.picture import new_figure

    figure, panels = new_figure(1, len(results), (4.6 * len(results), 3.8))
    styles = {"ask_me": ("tab:red", "o"), "random": ("tab:blue", "s"), "uniform": ("0.5", "^")}
    for panel, result in zip(panels.ravel(), results):
        for rule, runs in result["rules"].items():
            values = np.array([[one["f_score"] for one in run] for run in runs])
            mean, deviation = values.mean(0), values.std(0, ddof=min(1, len(values) - 1))
            color, marker = styles[rule]
            # Where no question is left there are fewer answers.
            numbers = np.mean([[one["answers"] for one in run] for run in runs], axis=0)
            panel.plot(numbers, mean, color=color, marker=marker, markersize=4, label=RULES[rule])
            panel.fill_between(
                numbers, mean - deviation, mean + deviation, color=color, alpha=0.15, linewidth=0
            )
        panel.set(title=result["name"], xlabel="answers of a person", ylabel="F of the labels")
        panel.grid(alpha=0.3)
    handles, labels = panels.ravel()[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Answer by all rules and seeds."""
    from mmreid_uda.checkpoint import find_checkpoint, run_config
    from mmreid_uda.review.sources import review_config
    from mmreid_uda.utils import InputError

    config, checkpoint = args.source, args.checkpoint
    if Path(config).is_dir():
        config, checkpoint = run_config(config), find_checkpoint(checkpoint or config)
    answers = sorted(set(args.answers))
    rules: dict[str, list[list[dict[str, float]]]] = {}
    name, keep, cache = args.name, args.write_links, args.cache
    with tempfile.TemporaryDirectory() as folder:
        for rule in args.rules:
            for seed in args.seeds:
                links = Path(folder, f"{rule}{seed}.csv")
                review = review_config(
                    config,
                    checkpoint,
                    options={**(args.cfg_options or {}), "randomness.seed": seed},
                    links=keep or links,
                    cache=cache or folder,
                )
                if review.identities is None or not (review.identities >= 0).any():
                    raise InputError(
                        f"found no identities of the {len(review)} images, expected the truth to answer by: take a set "
                        "with labels."
                    )
                name = name or review.name
                if not keep:
                    review = some_of(review, args.share, seed, links)
                run = answer_questions(review, rule, answers, args.batch, seed)
                rules.setdefault(rule, []).append(run)
                words = ", ".join(f"{one['answers']:.0f}: {one['f_score']:.3f}" for one in run)
                print(f"{name}, {rule}, seed {seed}: F after answers {words}", flush=True)
                if keep:
                    print(f"wrote {keep}, relative to the folder of the images")
                    keep = None
    return dict(name=name, answers=answers, batch=args.batch, seeds=args.seeds, rules=rules)


def main() -> None:
    """Measure, or draw what was measured."""
    args = parse_args()
    from mmreid_uda.utils import InputError
    from mmreid_uda.utils.files import atomic_path
    from mmreid_uda.visualization import write_picture

    if args.draw:
        results = [json.loads(Path(path).read_text()) for path in args.draw]
        write_picture(args.picture, draw_answers(results))
        print(f"wrote {args.picture}")
    elif args.source:
        results = [measure(args)]
        if args.out:
            with atomic_path(Path(args.out)) as temporary:
                temporary.write_text(json.dumps(results[0], indent=1))
            print(f"wrote {args.out}")
    else:
        raise InputError("found nothing to measure, expected a config or a run, or --draw FILES.")
    print(table(results))


if __name__ == "__main__":
    run_tool(main)
