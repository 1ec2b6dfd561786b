"""Draw how far student and teacher are apart, epoch by epoch, for several runs (the figure ABMT argues with).

Example:
    python tools/analysis/plot_diversity.py work_dirs/abmt_mbv2_syntha2synthb \
        work_dirs/abmt-single-branch_mbv2_syntha2synthb --out work_dirs/diversity.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmreid_uda.apis import run_tool
from mmreid_uda.utils import InputError

TITLES = {
    "diversity/teacher": "student and its teacher",
    "diversity/supervision": "student and what teaches it",
    "diversity/branches": "branches (or networks) of the teacher",
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Plot the diversity measures of several runs.")
    parser.add_argument("runs", nargs="+", help="work dirs of runs with a DiversityHook")
    parser.add_argument("--out", default="work_dirs/diversity.png", help="picture to write")
    return parser.parse_args()


def read_run(folder: str | Path) -> dict[str, dict[int, float]]:
    """Read the measures of a run, of all its starts together: name -> epoch -> mean distance.

    Raises:
        InputError: If the folder has none.
    """
    curves: dict[str, dict[int, float]] = {name: {} for name in TITLES}
    for log in sorted(Path(folder).glob("*/vis_data/scalars.json")):
        for line in log.read_text().splitlines():
            record = json.loads(line)
            for name in curves.keys() & record.keys():
                curves[name][record["step"]] = record[name]
    if not any(curves.values()):
        raise InputError(
            f"found no diversity measures in {str(folder)!r}, expected the work dir of a run with "
            "default_hooks.diversity=dict(type='DiversityHook')."
        )
    return curves


def main() -> None:
    """Draw one panel per measure, one line per run."""
    args = parse_args()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    runs = {Path(run).name: read_run(run) for run in args.runs}
    figure, panels = pyplot.subplots(1, len(TITLES), figsize=(13, 3.6), constrained_layout=True)
    for panel, (measure, title) in zip(panels, TITLES.items()):
        for name, curves in runs.items():
            points = sorted(curves[measure].items())
            if points:
                panel.plot(*zip(*points), marker=".", label=name)
        panel.set(title=title, xlabel="epoch", ylim=(0, None))
    panels[0].set_ylabel("mean distance of unit features")
    panels[0].legend(fontsize="small")
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=120)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
