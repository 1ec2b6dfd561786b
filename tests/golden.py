"""The losses of twenty iterations of every small config, recorded once: a change of structure must not move them.

    python tests/golden.py record            # write tests/golden_curves.json
    python tests/golden.py compare [NAME...] # train again and name what differs

Curves are exact on the kind of CPU and with the version of torch that recorded them (``recorded_here``); others round
otherwise, and then cluster otherwise.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

CURVES = Path(__file__).with_name("golden_curves.json")
# Fewer people than the configs have, and small batches: all curves take ten minutes of one core.
PEOPLE = dict(num_train_ids=40, num_test_ids=4, images_per_id=8)
EPOCHS, ITERATIONS = 2, 10
# What another config must have trained before: config -> (config, option that names its run).
NEEDS = {
    "fat-distill_mbv2_synthb": ("fat-teacher_mbv2_synthb", "model.head.soft_labels"),
    "std_mbv2_synthb": ("ptl_mbv2_synthb", "model.teacher.checkpoint"),
    "std_mbv2_digits": ("ptl_mbv2_digits", "model.teacher.checkpoint"),
}

# Whose sums have another order now: hard losses once per student, not once per teacher. Values of the first iteration
# are equal, gradients round differently in the last digit.
REORDERED = {"mebnet_mbv2_syntha2synthb"}


def small_configs() -> list[str]:
    """Names of every config that trains on a CPU."""
    from mmreid_uda.config import model_index

    return sorted(name for name in model_index() if "_mbv2_" in name)


def cpu() -> str:
    """What decides how sums are rounded."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {model} {torch.backends.cpu.get_cpu_capability()}"


def curve(name: str, data_root: str, folder: str) -> list[dict[str, float]]:
    """Train a config for twenty iterations and return what each of them logged."""
    from mmengine.hooks import Hook

    from mmreid_uda.config import load_config
    from mmreid_uda.engine import build_runner

    torch.set_num_threads(1)
    cfg = load_config(name, _options(name, data_root, folder))
    cfg.work_dir = f"{folder}/{name}"
    noted: list[dict[str, float]] = []

    class Note(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            noted.append(
                {key: torch.as_tensor(value).item() for key, value in sorted(outputs.items())}
            )

    runner = build_runner(cfg)
    runner.register_hook(Note())
    runner.train()
    return noted[: EPOCHS * ITERATIONS]


def _options(name: str, data_root: str, folder: str) -> dict[str, Any]:
    from mmreid_uda.config import read_config

    options: dict[str, Any] = {
        "train_cfg.max_epochs": EPOCHS,
        "train_cfg.val_interval": 100,
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
    }
    if name.endswith("_digits"):
        options["train_cfg.max_epochs"] = 1
    else:
        options.update(
            data_root=data_root, test=[], global_batch_size=32, iters_per_epoch=ITERATIONS
        )
        cfg = read_config(name)
        for key in ("source", "target"):
            one = cfg.get(key)
            one = one.get("name") if isinstance(one, dict) else one
            if one and one.startswith("synth"):
                options[key] = dict(_delete_=True, name=one, **PEOPLE)
        if "2" in name.rpartition("_")[2]:
            options["stage1"] = None
    if name in NEEDS:
        teacher, option = NEEDS[name]
        options[option] = f"{folder}/{teacher}"
    return options


def curves(names: list[str], data_root: str, folder: str, processes: int = 1) -> dict[str, Any]:
    """Name -> curve; each in a process of its own, those that need another's run behind it."""
    waves = [[n for n in names if n not in NEEDS], [n for n in names if n in NEEDS]]
    missing = [NEEDS[n][0] for n in waves[1] if NEEDS[n][0] not in waves[0]]
    found = {}
    # Not multiprocessing's own pool: what it starts may not render in processes of its own.
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        for wave in (waves[0] + missing, waves[1]):
            jobs = {n: pool.submit(curve, n, data_root, folder) for n in wave}
            for n, job in jobs.items():
                try:
                    found[n] = job.result()
                except Exception as error:
                    print(f"{n}: {type(error).__name__}: {error}", flush=True)
    return found


def recorded_here() -> bool:
    """Whether the curves were recorded on this kind of CPU, with this torch."""
    recorded = json.loads(CURVES.read_text())
    return (recorded["cpu"], recorded["torch"]) == (cpu(), torch.__version__)


def differences(name: str, found: list[dict[str, float]]) -> str:
    """How a curve differs from the recorded one: a sentence, or nothing."""
    expected = json.loads(CURVES.read_text())["curves"][name]
    for number, (one, other) in enumerate(zip(expected, found)):
        for key in sorted({*one, *other}):
            old, new = one.get(key), other.get(key)
            if old != new:
                return f"{name}: iteration {number + 1}, {key}: recorded {old}, found {new}"
        if name in REORDERED:
            return ""
    return "" if len(expected) == len(found) else f"{name}: {len(found)} iterations"


def main() -> None:
    """Record all curves, or compare some."""
    command, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        found = curves(names or small_configs(), f"{folder}/data", folder, processes=2)
    if command == "record":
        lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(found.items())]
        head = dict(cpu=cpu(), torch=torch.__version__)
        text = ",\n".join(lines)  # a curve per line
        CURVES.write_text(f'{json.dumps(head)[:-1]}, "curves": {{\n{text}\n}}}}\n')
        return
    names = names or list(json.loads(CURVES.read_text())["curves"])
    said = [differences(name, found.get(name, [])) for name in names]
    differing = [text for text in said if text]
    print(*differing, f"{len(names) - len(differing)} of {len(names)} curves equal", sep="\n")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
