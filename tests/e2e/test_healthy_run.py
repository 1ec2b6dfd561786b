"""What a user sees of a run that is well: no warning, a figure soon, and a last word; cold, as a user starts it."""

import pytest

pytestmark = pytest.mark.slow


def assert_well(output):
    lines = output.splitlines()
    assert not [line for line in lines if "warn" in line.lower()]
    metrics = [number for number, line in enumerate(lines) if "Epoch(train)" in line]
    assert metrics and metrics[0] < 60, output[:6000]


def test_nothing_is_complained_of_and_the_first_figure_comes_soon(
    tiny, run_tool, tmp_path, results
):
    work = tmp_path / "run"
    auto = (
        "train_dataloader.update(num_workers='auto', persistent_workers=True)\n"
        "val_dataloader.update(num_workers='auto')\n"
        "default_hooks['cluster'].update(num_workers='auto')\n"
        # So few people are hardly told apart by a wider radius, of which a warning would tell.
        "default_hooks['cluster']['clusterer'].update(eps=0.5)\n"
    )
    config = tiny(extra=auto)
    options = ("--cfg-options", "train_cfg.max_epochs=1")
    _, output = run_tool(
        "tools/dist_train.sh", config, "--work-dir", work, *options, processes=2, cold=True
    )
    assert_well(output)
    assert "Loading processes: " in output and "Environment, config" in output
    # On one process and to another epoch: both are said, neither is a warning.
    more = ("--cfg-options", "train_cfg.max_epochs=2")
    _, output = run_tool("tools/train.py", config, "--work-dir", work, "--resume", *more, cold=True)
    assert_well(output)
    assert "processes: 2 -> 1" in output and "train_cfg.max_epochs: 1 -> 2" in output
    assert list(results(work)) == ["0", "1", "2"]
    # There is nothing left; that is a success, found without reading data or building networks.
    _, output = run_tool("tools/train.py", config, "--work-dir", work, "--resume", *more)
    assert output.startswith("nothing is left to train: ") and output.count("\n") == 1
    # A second way to start by mistake: two words, no traceback, the status of bad usage.
    status, output = run_tool(
        "tools/dist_train.sh", tmp_path / "none.py", processes=2, cold=True, check=False
    )
    assert status == 2 and output.count("\n") == 1 and output.startswith("error: found no config")
