"""Train several methods on several data with several seeds, all else equal, and write the table.

A plan says what is compared; docs/comparison.yml is ours, and the pattern for one on your own data. Runs that are
finished are not run again, so that a stopped command goes on where it was, and --methods, --data and --seeds choose a
part.

Examples:
    python tools/analysis/compare_methods.py docs/comparison.yml --data synthd
    python tools/analysis/compare_methods.py docs/comparison.yml --methods ise-all --data synthd --seeds 1
    python tools/analysis/compare_methods.py docs/comparison.yml --table
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmreid_uda.cli import ToolParser, at_least, run_command, run_tool, training_command, writable
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path, last_epoch, read_results, unfinished

__all__ = ["config_text", "measured", "noted_cells", "read_plan", "table"]

TOOLS = Path(__file__).parents[1]
# What methods and data must say, and what they may.
_PLAN = {"methods", "data", "seeds"}, {"common", "results"}
_KEYS = {
    "methods": ({"config", "batch"}, {"knowledge", "options", "special"}),
    "data": ({"images_per_epoch", "options"}, {"knowledge", "batch"}),
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Compare methods on the same data with the same budget.")
    parser.add_argument("plan", help="YAML file that says what is compared")
    parser.add_argument("--methods", nargs="+", help="some of the plan (default: all)")
    parser.add_argument("--data", nargs="+", help="some of the plan (default: all)")
    parser.add_argument("--seeds", nargs="+", type=at_least(0), help="default: those of the plan")
    parser.add_argument("--work-dir", default="work_dirs/comparison", help="folder of all runs")
    parser.add_argument(
        "--table",
        action="store_true",
        help="train nothing: write down finished runs, and what the plan says of the others",
    )
    parser.add_argument("--out", type=writable(), help="Markdown file to write as well")
    return parser.parse_args()


def read_plan(path: str | Path) -> dict[str, Any]:
    """Read what is compared.

    Args:
        path: A YAML file: ``methods`` and ``data`` by names, ``common`` options, ``seeds``; ``results`` that were
            found, by data and method for each seed mAP, Rank-1 and minutes.

    Returns:
        Its content.

    Raises:
        InputError: It is no such file, or a method's knowledge is unknown to some data.
    """
    try:
        plan = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the plan {str(path)!r} cannot be read ({reason}), expected a YAML file such as docs/comparison.yml."
        ) from error
    _require_keys(f"the plan {str(path)!r}", plan, *_PLAN)
    for kind, (needed, possible) in _KEYS.items():
        for name, entry in plan[kind].items():
            _require_keys(f"{kind}.{name} of the plan", entry, needed, possible)
    for name, method in plan["methods"].items():
        for data, entry in plan["data"].items():
            if (wanted := method.get("knowledge")) not in (None, *entry.get("knowledge", ())):
                raise InputError(
                    f"methods.{name} of the plan wants the knowledge {wanted!r}, and data.{data} has "
                    f"{', '.join(entry.get('knowledge', ())) or 'none'}: say under data.{data}.knowledge what it is."
                )
            batch = entry.get("batch", method["batch"])
            if entry["images_per_epoch"] < batch:
                raise InputError(
                    f"data.{data} of the plan has images_per_epoch={entry['images_per_epoch']}, expected at least a "
                    f"batch of {batch}: raise it."
                )
    return plan


def _require_keys(where: str, entry: Any, needed: set[str], possible: set[str]) -> None:
    """Refuse an entry that lacks keys, or has others."""
    found = set(entry) if isinstance(entry, dict) else set()
    if not needed <= found <= needed | possible:
        raise InputError(
            f"{where} has {', '.join(sorted(map(str, found))) or 'no keys'}, expected {', '.join(sorted(needed))}, and "
            f"no others than {', '.join(sorted(possible))}."
        )


def config_text(plan: Mapping[str, Any], method: str, data: str) -> str:
    """The config of one cell: that of the method, and what the plan says in place of its keys.

    Args:
        plan: Of :func:`read_plan`.
        method: Name of a method.
        data: Name of data.

    Returns:
        A config file.
    """
    from mmreid_uda.config.index import find_model

    how, where = plan["methods"][method], plan["data"][data]
    model = find_model(how["config"])
    batch = where.get("batch", how["batch"])
    options: dict[str, Any] = {}
    for part in (
        _nested(model.overrides),
        plan.get("common", {}),
        dict(global_batch_size=batch, iters_per_epoch=where["images_per_epoch"] // batch),
        where["options"],
        where["knowledge"][how["knowledge"]] if "knowledge" in how else {},
        how.get("options", {}),
        how.get("special", {}).get(data, {}),
    ):
        options = _merged(options, part)
    lines = [f"_base_ = {str(model.file.resolve())!r}"]
    return "\n".join(lines + [f"{key} = {value!r}" for key, value in options.items()]) + "\n"


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as dicts."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        nested = _merged(nested, value)
    return nested


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both, the other first; dicts are merged, unless the other's has ``_delete_``."""
    result = dict(one)
    for key, value in other.items():
        both = isinstance(result.get(key), dict) and isinstance(value, dict)
        result[key] = (
            _merged(result[key], value) if both and not value.get("_delete_") else _plain(value)
        )
    return result


def _plain(value: Any) -> Any:
    """Lists as tuples: a config's sizes are such."""
    return tuple(value) if isinstance(value, list) and not any(map(_holds, value)) else value


def _holds(value: Any) -> bool:
    return isinstance(value, (dict, list, str))


def folder_of(work_dir: Path, data: str, method: str, seed: int) -> Path:
    """Folder of one run."""
    return work_dir / data / f"{method}-seed{seed}"


def measured(work_dir: Path, data: str, method: str, seed: int) -> tuple[float, float] | None:
    """What a finished run has reached in its last epoch.

    Args:
        work_dir: Folder of all runs.
        data: Name of data.
        method: Name of a method.
        seed: Its seed.

    Returns:
        mAP and Rank-1 in percent; None if there is no finished run.
    """
    path = folder_of(work_dir, data, method, seed) / "results.json"
    if not path.is_file() or unfinished(path):
        return None
    metrics = read_results(path)[last_epoch(path)]
    by_name = {name.rpartition("/")[2]: value for name, value in metrics.items()}
    return by_name["mAP"], by_name["R1"]


def noted_cells(plan: Mapping[str, Any]) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """The figures that a plan holds.

    Args:
        plan: Of :func:`read_plan`.

    Returns:
        Method and data -> for each seed mAP and Rank-1 in percent.
    """
    results = plan.get("results") or {}
    return {
        (method, data): [(run[0], run[1]) for run in results.get(data, {}).get(method, ())]
        for method in plan["methods"]
        for data in plan["data"]
    }


def table(cells: Mapping[tuple[str, str], Sequence[Sequence[float]]]) -> str:
    """A Markdown table: methods by data, mean ± standard deviation of mAP and Rank-1.

    Args:
        cells: Method and data -> for each seed mAP and Rank-1.

    Returns:
        The table; cells without a figure are dashes.
    """
    methods, data = (list(dict.fromkeys(key[place] for key in cells)) for place in (0, 1))
    lines = ["| method | " + " | ".join(data) + " |", "|---|" + "---|" * len(data)]
    for method in methods:
        texts = [_cell(cells.get((method, one), ())) for one in data]
        lines.append(f"| {method} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def _cell(runs: Sequence[Sequence[float]]) -> str:
    if not runs:
        return "–"
    parts = []
    for values in zip(*runs):
        deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        parts.append(f"{statistics.mean(values):.1f}{deviation}")
    return " / ".join(parts) + ("" if len(runs) > 1 else " (one seed)")


def main() -> None:
    """Train what is missing, and write the table."""
    args = parse_args()
    plan = read_plan(args.plan)
    chosen = {}
    for kind, named in (("methods", args.methods), ("data", args.data)):
        if strange := set(named or ()) - set(plan[kind]):
            raise InputError(
                f"found {', '.join(sorted(strange))} for --{kind}, expected some of {', '.join(plan[kind])}."
            )
        chosen[kind] = named or list(plan[kind])
    work_dir, seeds = Path(args.work_dir), args.seeds or plan["seeds"]
    cells: dict[tuple[str, str], list[tuple[float, float]]] = {}
    if not args.table:
        for data in chosen["data"]:
            for method in chosen["methods"]:
                _write_config(plan, work_dir, data, method)
    for seed in seeds:
        for data in chosen["data"]:
            for method in chosen["methods"]:
                if not args.table and measured(work_dir, data, method, seed) is None:
                    _train(plan, work_dir, data, method, seed)
                found = measured(work_dir, data, method, seed)
                cells.setdefault((method, data), []).extend([found] if found else [])
    if args.table:
        noted = noted_cells(plan)
        cells = {key: runs or noted.get(key, []) for key, runs in cells.items()}
    text = table(cells)
    print(text)
    if args.out:
        with atomic_path(args.out) as path:
            Path(path).write_text(text + "\n", encoding="utf-8")


def _write_config(plan: Mapping[str, Any], work_dir: Path, data: str, method: str) -> Path:
    """Write the config of a cell, unless it is there.

    Raises:
        InputError: That of another plan is there.
    """
    path, text = work_dir / data / f"{method}.py", config_text(plan, method, data)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise InputError(
            f"found runs of another plan, or of another version of it, beside {path}, expected those of this one: give "
            "another --work-dir, or remove them."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _train(plan: Mapping[str, Any], work_dir: Path, data: str, method: str, seed: int) -> None:
    """Train one cell; a stopped run goes on."""
    config = work_dir / data / f"{method}.py"
    run = folder_of(work_dir, data, method, seed)
    flags = ["--work-dir", str(run), "--seed", str(seed)]
    if (run / "last_checkpoint").is_file():
        flags.append("--resume")
    print(f"==> {method} on {data}, seed {seed}", flush=True)
    if status := run_command(training_command(TOOLS, str(config), flags)):
        raise InputError(
            f"the training of {method} on {data} with seed {seed} ended with status {status}: mend what it says above, "
            "and give the same command again; finished runs are kept."
        )


if __name__ == "__main__":
    run_tool(main)
