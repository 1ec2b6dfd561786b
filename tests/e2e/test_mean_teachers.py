"""Mean teachers over a stop and over two processes: teachers, classifiers, frozen radius, fresh optimisers."""

from pathlib import Path

import pytest
import torch
from same_state import assert_same_state, load
from test_ranks import losses

from mmreid_uda.config import load_config
from mmreid_uda.registry import MODELS

pytestmark = pytest.mark.slow

MMT_DBSCAN = "configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py"
MMT_KMEANS = "configs/mmt/mmt-k150_mbv2_syntha2synthb.py"
ABMT = "configs/abmt/abmt_mbv2_syntha2synthb.py"
STRONG_BASELINE = "configs/strong_baseline/strong-baseline_mbv2_syntha2synthb.py"
SOURCE = "configs/source/source-ab_mbv2_syntha2synthb.py"

# No first stage; the papers' own ways to the radius (k-means: eight clusters).
COMMON = """
stage1 = None
"""
CLUSTERER = "default_hooks['cluster']['clusterer'] = dict({})\n"
AUTO = CLUSTERER.format("eps='rho', rho=0.05, k1=8, k2=3, min_samples=2")
PEOPLE = "num_train_ids=12, num_test_ids=6, images_per_id=6"
TWO_DOMAINS = f"""
source = dict(_delete_=True, name="syntha", {PEOPLE})
test = [dict(name="synthb", {PEOPLE})]
"""
EXTRA = {
    MMT_DBSCAN: COMMON + AUTO,
    MMT_KMEANS: COMMON + CLUSTERER.format("num_clusters=8"),
    ABMT: COMMON + AUTO + TWO_DOMAINS,
    STRONG_BASELINE: COMMON + TWO_DOMAINS,
    SOURCE: TWO_DOMAINS
    + "default_hooks.pop('cluster')\nnum_instances = dict(source=4, target=0)\n",
}
STOP = """
custom_imports = dict(imports=['tests.e2e.stop_hook'])
custom_hooks = [dict(type='StopAfterEpoch', epoch={epoch})]
"""


@pytest.mark.parametrize(
    "base, processes, stop",
    [
        (MMT_DBSCAN, 2, 2),
        (MMT_KMEANS, None, 2),
        (ABMT, None, 2),
        (ABMT, 2, 2),
        # Labels every second epoch: those of epoch 3 come from the file.
        (STRONG_BASELINE, None, 3),
        (SOURCE, None, 2),
    ],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    tiny, run_tool, tmp_path, base, processes, stop
):
    tool = "tools/train.py" if processes is None else "tools/dist_train.sh"
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    config = tiny(base, extra=EXTRA[base])
    run_tool(tool, config, "--work-dir", whole, processes=processes)
    stopped = tiny(base, extra=EXTRA[base] + STOP.format(epoch=stop), name="stopped")
    _, output = run_tool(tool, stopped, "--work-dir", halves, processes=processes, check=False)
    assert f"stopped after epoch {stop}" in output
    run_tool(tool, config, "--work-dir", halves, "--resume", processes=processes)
    first, second = load(whole / "epoch_4.pth"), load(halves / "epoch_4.pth")
    for part in ("state_dict", "optimizer", "param_schedulers", "pseudo_labels"):
        assert_same_state(first.get(part), second.get(part), part)
    if base == MMT_DBSCAN:
        assert first["pseudo_labels"]["clusterer"]["clusterer"]["frozen_eps"] > 0
    if base != SOURCE:
        classes = first["pseudo_labels"]["labels"].max() + 1
        assert first["state_dict"]["teachers.0.module.head.weight"].shape[1] == classes > 1


# As in test_ranks: plain SGD, and tiny steps where there are several. Untrained extra blocks and max pooling make
# gradients so large that steps of 1e-5 multiply rounding to half a percent of the third iteration's loss (measured).
RANKS = """
default_hooks["logger"] = dict(interval=1)
log_processor = dict(window_size=1)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr={lr}))
param_scheduler = None
train_cfg = dict(max_epochs=1, val_interval=1)
iters_per_epoch = {iterations}
encoder["backbone"] = dict(norm_eval={norm_eval})
"""


@pytest.mark.parametrize(
    "base, iterations, norm_eval, lr",
    [
        (MMT_DBSCAN, 1, False, 1e-2),
        (ABMT, 1, False, 1e-2),
        (SOURCE, 1, False, 1e-2),
        (MMT_DBSCAN, 4, True, 1e-7),
    ],
)
def test_two_ranks_are_one_rank(tiny, run_tool, tmp_path, base, iterations, norm_eval, lr):
    extra = EXTRA[base] + RANKS.format(iterations=iterations, norm_eval=norm_eval, lr=lr)
    config = tiny(base, extra=extra)
    one, two = tmp_path / "one", tmp_path / "two"
    run_tool("tools/train.py", config, "--work-dir", one)
    run_tool("tools/dist_train.sh", config, "--work-dir", two, processes=2)
    first, second = losses(one), losses(two)
    assert len(first) == iterations and second == pytest.approx(first, rel=1e-3)

    torch.manual_seed(1)
    model = MODELS.build(load_config(config).model)
    model.init_weights()
    expected, found = (load(run / "epoch_1.pth") for run in (one, two))
    if base != SOURCE:
        assert torch.equal(found["pseudo_labels"]["labels"], expected["pseudo_labels"]["labels"])
    steps = [
        torch.cat(
            [
                (run["state_dict"][name] - weight).flatten()
                for name, weight in model.named_parameters()
                if "encoder.backbone" in name  # heads and extra blocks start at random
            ]
        )
        for run in (expected, found)
    ]
    # A wrong factor or a missing part of the batch would make 50 % and more.
    print(f"relative difference of the steps: {(steps[1] - steps[0]).norm() / steps[0].norm():.2%}")
    assert (steps[1] - steps[0]).norm() < 0.05 * steps[0].norm()


def test_a_missing_first_stage_is_one_sentence_with_its_command(tiny, run_tool):
    run = "work_dirs/source_mbv2_syntha2synthb-seed7"
    config = tiny(MMT_DBSCAN, extra=EXTRA[MMT_DBSCAN] + f"stage1 = {run!r}\n")
    status, output = run_tool("tools/train.py", config, check=False)
    [sentence] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert status == 2 and "Traceback" not in output
    command = f"source_mbv2_syntha2synthb --seed 7 --work-dir {run}`"
    assert f"make it with `python tools/train.py {command}" in sentence


def test_one_command_trains_both_stages_and_goes_on_where_it_stopped(
    tiny, run_tool, tmp_path, results
):
    # A run is named like its config, so that the pipeline knows how to make it.
    source = tmp_path / "configs" / "source" / "tiny.py"
    source.parent.mkdir(parents=True)
    tiny(SOURCE, extra=EXTRA[SOURCE]).rename(source)
    run = "work_dirs/tiny-seed3"
    config = tiny(ABMT, extra=EXTRA[ABMT] + f"stage1 = {run!r}\n", name="abmt")
    pipeline = Path("tools/pipeline.py").absolute()
    command = [pipeline, config, "--amp", "--stage1-options", "train_cfg.max_epochs=2"]
    run_tool(*command, cwd=tmp_path)
    # What the second stage starts with is direct transfer: the first one's last figures.
    work_dir = tmp_path / "work"
    assert results(work_dir)["0"] == pytest.approx(results(tmp_path / run)["2"], abs=1e-3)

    (work_dir / "epoch_4.pth").unlink()
    (work_dir / "last_checkpoint").write_text(str(work_dir / "epoch_3.pth"))
    _, output = run_tool(*command, cwd=tmp_path)
    assert f"{run} is finished" in output and (work_dir / "epoch_4.pth").exists()
    for network in ("1", "student"):
        run_tool(
            "tools/test.py", config, work_dir / "epoch_4.pth", "--work-dir", tmp_path / "test",
            "--cfg-options", f"model.test_cfg.network={network}", f"stage1={tmp_path / run}",
        )  # fmt: skip


def test_a_first_stage_that_no_config_makes_is_named(tiny, run_tool):
    config = tiny(ABMT, extra=EXTRA[ABMT] + "stage1 = 'elsewhere'\n", name="abmt")
    status, output = run_tool("tools/pipeline.py", config, check=False)
    assert status == 2 and "error: found the run 'elsewhere' in stage1" in output
