"""List the configs there are: files, and the variants of ``model-index.yml``, with the figures of their papers.

Each name stands for a config wherever one is asked for. Another pair of datasets is a name, too:
``mmt-dbscan_r50_msmt2market``.

Examples:
    python tools/configs.py
    python tools/configs.py 'mmt-*_r50-ibn_*' --overrides
"""

from __future__ import annotations

import argparse

from mmreid_uda.cli import ToolParser, run_tool


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="List the configs there are.")
    parser.add_argument("pattern", nargs="?", default="*", help="names to list, with * and ?")
    parser.add_argument(
        "--overrides",
        action="store_true",
        help="the file of each, and the keys that a variant changes",
    )
    return parser.parse_args()


def main() -> None:
    """Print a line for each."""
    args = parse_args()
    from fnmatch import fnmatch

    from mmreid_uda.config import model_index
    from mmreid_uda.utils import InputError

    models = [one for name, one in model_index().items() if fnmatch(name, args.pattern)]
    if not models:
        raise InputError(
            f"found no config that is named like {args.pattern!r}; give another pattern."
        )
    width = max(len(one.name) for one in models)
    for one in models:
        metrics = [
            f"{figure['Dataset']} {found['mAP']} / {found.get('Rank-1', '–')}, {figure['Origin']}"
            for figure in one.results
            for found in [figure["Metrics"]]
        ]
        print(f"{one.name:{width}}  {'; '.join(metrics)}".rstrip())
        if args.overrides:
            changes = " ".join(f"{key}={value}" for key, value in one.overrides.items())
            print(f"    {one.file}  {changes}".rstrip())


if __name__ == "__main__":
    run_tool(main)
