"""Write a run down as one HTML page that needs no network: results, curves, clusters, rank lists, configuration.

Example:
    python tools/analysis/report.py work_dirs/ise_r50_market --checkpoint work_dirs/ise_r50_market --out report.html
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmreid_uda.cli import ToolParser, at_least, run_tool
from mmreid_uda.utils import InputError, loading_processes
from mmreid_uda.utils.files import atomic_path, read_results, require_writable, unfinished

if TYPE_CHECKING:
    from mmreid_uda.apis import FeatureSet
    from mmreid_uda.visualization import Curve


STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, td.note { text-align: left; }
th:first-child, td:first-child { white-space: nowrap; }
img { max-width: 100%; }
pre { background: #f6f6f4; padding: 1rem; overflow-x: auto; font-size: 12px; white-space: pre-wrap; }
.note { color: #666; }
"""
# Of the labels of an epoch: what needs no identities, then what is measured with them.
LIFE = dict(
    clusters=".0f",
    outliers=".0f",
    outlier_ratio=".3f",
    median=".0f",
    largest=".0f",
    ari_previous=".3f",
    ari_mirrored=".3f",
    one_camera_share=".3f",
    one_camera_chance=".3f",
    tracklet_purity=".3f",
    seen_together=".3f",
    must_violated=".0f",
    cannot_violated=".0f",
)
TRUTH = dict(nmi=".3f", ari=".3f", f_score=".3f")
DRAWN_LIFE = (
    "clusters",
    "outliers",
    "ari_previous",
    "ari_mirrored",
    "one_camera_share",
    "tracklet_purity",
    "nmi",
    "ari",
)
DRAWN = ("loss", "loss_*", "*/mAP", "*/R1", "lr")


class Run(NamedTuple):
    """What a run has left in its folder."""

    folder: Path
    config: Path
    """The file that mmengine has written there."""
    environment: str
    """As logged at the last start."""
    curves: dict[str, Curve]
    """Logged quantities."""
    results: dict[int, dict[str, float]]
    """Finished epochs -> figures in percent."""
    unfinished: str
    """How far a stopped run has come; empty for a complete one."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Write the report of a run.")
    parser.add_argument("work_dir", help="folder of the run")
    parser.add_argument("--checkpoint", help="draw rank lists of this file, or folder of a run")
    parser.add_argument("--queries", type=at_least(1), default=6, help="queries per picture")
    parser.add_argument("--device", help="such as cuda:0 (default: a GPU if there is one)")
    parser.add_argument(
        "--num-workers",
        type=at_least(0),
        help="loading processes (default: as many as the cores allow, at most 8)",
    )
    parser.add_argument("--out", help="page to write (default: WORK_DIR/report.html)")
    return parser.parse_args()


def read_run(folder: Path) -> Run:
    """Read the folder of a run.

    Raises:
        InputError: If it holds no config or no results, or something else as such.
    """
    from mmreid_uda.checkpoint import run_config
    from mmreid_uda.visualization import read_scalars

    config, results = run_config(folder), folder / "results.json"
    if not (results.is_file() or (folder / "last_checkpoint").is_file()):
        raise InputError(
            f"found no results.json in '{folder}', expected one beside the config: give the folder of a run of "
            "tools/train.py."
        )
    logs = sorted(folder.glob("*/*.log"))
    return Run(
        folder,
        config,
        read_environment(logs[-1].read_text()) if logs else "",
        read_scalars(folder),
        read_results(results) if results.is_file() else {},  # of a run without test images
        unfinished(results) if results.is_file() else "",
    )


def read_environment(log: str) -> str:
    """The block of a log that describes machine and settings; empty if it has none."""
    _, found, after = log.partition("System environment:\n")
    return found + after.partition("\n----")[0] if found else ""


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] | None = None
) -> str:
    """An HTML table of texts, with a note behind each row if there are notes."""
    cells = "".join(f"<th>{escape(text)}</th>" for text in header)
    lines = [f"<tr>{cells}</tr>"]
    for number, row in enumerate(rows):
        cells = "".join(f"<td>{escape(text)}</td>" for text in row)
        if notes is not None:
            cells += f'<td class="note">{escape(notes[number])}</td>'
        lines.append(f"<tr>{cells}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def image(content: bytes, kind: str, alt: str) -> str:
    """An image inside the page."""
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'


def result_section(results: Mapping[int, Mapping[str, float]], stopped: str = "") -> str:
    """All evaluations; the last one is the result, unless the run has stopped; the best one is named for what it is."""
    if not results:
        result = escape(stopped) or "the last checkpoint is the result"
        return f"<p>No evaluation was done; {result}. What is known of the labels is below.</p>"
    last = max(results)
    names = list(results[last])
    best = max(results, key=lambda epoch: results[epoch].get(names[0], float("-inf")))
    rows, notes = [], []
    for epoch, metrics in sorted(results.items()):
        said = ["before training"] if epoch == 0 else []
        said += [f"last; {stopped}" if stopped else "last, the result"] if epoch == last else []
        said += [f"best {names[0]}, chosen on the test set"] if epoch == best else []
        values = [f"{metrics[name]:.1f}" if name in metrics else "" for name in names]
        rows.append([f"epoch {epoch}", *values])
        notes.append("; ".join(said))
    return table(["", *names], rows, notes)


def read_labels(curves: Mapping[str, Curve]) -> dict[int, dict[str, float]]:
    """Epoch, 0-based -> what was logged of its pseudo-labels."""
    labels: dict[int, dict[str, float]] = {}
    for name, curve in curves.items():
        if name.startswith("cluster/"):
            for epoch, value in curve.points.items():
                labels.setdefault(epoch, {})[name.removeprefix("cluster/")] = value
    return dict(sorted(labels.items()))


def life_section(
    curves: Mapping[str, Curve], results: Mapping[int, Mapping[str, float]] | None = None
) -> str:
    """Clusters before each epoch: warnings, a picture and tables; a sentence for a run without clusters."""
    from mmreid_uda.clustering import health_warnings
    from mmreid_uda.visualization import draw_curves, encode_picture

    labels = read_labels(curves)
    if not labels:
        return "<p>This run made no pseudo-labels.</p>"
    formats = {**LIFE, **TRUTH}
    logged = [name for name in formats if f"cluster/{name}" in curves]
    rows = [
        [f"before epoch {epoch + 1}"]
        + [format(metrics[name], formats[name]) if name in metrics else "" for name in logged]
        for epoch, metrics in labels.items()
    ]
    warnings = "".join(
        f"<li>From epoch {one.epoch + 1} on: {escape(one.text)}.</li>"
        for one in health_warnings(labels)
    )
    figure = draw_curves({"run": curves}, [f"cluster/{name}" for name in DRAWN_LIFE])
    return (
        (f"<ul>{warnings}</ul>" if warnings else "")
        + image(encode_picture(figure), "png", "clusters over epochs")
        + table(["", *logged], rows)
        + ranking_table(labels, results or {})
    )


def ranking_table(
    labels: Mapping[int, Mapping[str, float]], results: Mapping[int, Mapping[str, float]]
) -> str:
    """How figures that need no identities have ranked the epochs, where identities are known; else nothing."""
    from mmreid_uda.clustering import rank_correlations

    truth: dict[int, dict[str, float]] = {}
    for epoch, metrics in labels.items():
        truth[epoch] = {name: metrics[name] for name in ("ari", "f_score") if name in metrics}
    # Labels before the first epoch are of the weights that are evaluated before training, and so on.
    for epoch, evaluated in results.items():
        chosen = {name: value for name, value in evaluated.items() if name.endswith("/mAP")}
        truth.setdefault(epoch, {}).update(chosen)
    found = rank_correlations(labels, truth)
    names = list(dict.fromkeys(name for one in found.values() for name in one))
    if not names:
        return ""
    rows = [
        [signal, *(f"{one[name]:.2f}" if name in one else "" for name in names)]
        for signal, one in found.items()
    ]
    return (
        "<p>How figures that need no identities ranked the epochs: Spearman's correlation with what is true.</p>"
        + table(["", *names], rows)
    )


def query_section(images: FeatureSet, num: int, worst: bool) -> str:
    """Rank lists of some queries."""
    from mmreid_uda.apis.feature_set import choose_queries
    from mmreid_uda.visualization import draw_rank_list, encode_picture

    chosen, captions = choose_queries(images, num, worst)
    rows = images.ranking(chosen, 10)
    alt = "worst queries" if worst else "rank lists"
    return image(encode_picture(draw_rank_list(rows, captions), ".jpg"), "jpeg", alt)


def build_page(run: Run, images: FeatureSet | None, num_queries: int) -> str:
    """Put the page together.

    Args:
        run: The run.
        images: Features of its test set, or None for a page without rank lists.
        num_queries: Queries per picture.

    Returns:
        HTML that refers to nothing outside itself.
    """
    from mmreid_uda.visualization import draw_curves, encode_picture

    sections = {"Results": result_section(run.results, run.unfinished)}
    if any(not name.startswith("cluster/") for name in run.curves):
        figure = draw_curves({run.folder.name: run.curves}, DRAWN)
        sections["Curves"] = image(encode_picture(figure), "png", "curves")
    sections["Clusters"] = life_section(run.curves, run.results)
    if images is not None:
        sections["Rank lists"] = query_section(images, num_queries, worst=False)
        sections["Worst queries"] = query_section(images, num_queries, worst=True)
    config = escape(run.config.read_text())
    sections["Configuration"] = (
        f"<details><summary>{escape(run.config.name)}</summary><pre>{config}</pre></details>"
    )
    sections["Environment"] = f"<pre>{escape(run.environment)}</pre>"
    body = "\n".join(f"<h2>{name}</h2>\n{content}" for name, content in sections.items())
    title = escape(run.folder.name)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f'<p class="note">Results are in percent. Right matches are framed green, wrong ones red.</p>\n'
        f"{body}\n</body></html>\n"
    )


def main() -> None:
    """Read, draw, write."""
    args = parse_args()
    from mmreid_uda.apis import FeatureSet, ReIDInferencer

    run = read_run(Path(args.work_dir))
    out = Path(args.out or run.folder / "report.html")
    require_writable(out)
    images = None
    if args.checkpoint:
        inferencer = ReIDInferencer(
            run.config,
            args.checkpoint,
            args.device,
            num_workers=loading_processes(args.num_workers),
        )
        images = FeatureSet.extract(inferencer, "test")
    page = build_page(run, images, args.queries)
    with atomic_path(out) as path:
        path.write_text(page, encoding="utf-8")
    print(f"wrote {out} ({len(page) / 2**20:.1f} MiB)")


if __name__ == "__main__":
    run_tool(main)
