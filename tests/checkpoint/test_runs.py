"""Finding checkpoints: by file, by the folder of a run, and the command that makes a missing one."""

import pytest

from mmreid_uda.checkpoint import find_checkpoint
from mmreid_uda.utils import InputError


def test_the_folder_of_a_run_stands_for_its_last_checkpoint(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "epoch_7.pth").touch()
    (run / "epoch_8.pth").touch()
    # Written before the folder was moved here.
    (run / "last_checkpoint").write_text("/elsewhere/run/epoch_8.pth")
    assert find_checkpoint(run) == find_checkpoint(str(run)) == run / "epoch_8.pth"
    assert find_checkpoint(run / "epoch_7.pth") == run / "epoch_7.pth"


@pytest.mark.parametrize(
    "missing, command",
    [
        ("work_dirs/source_r50_duke2market", ""),
        ("work_dirs/source_r50_duke2market/epoch_80.pth", ""),
        (
            "work_dirs/source_r50_duke2market-seed2",
            " --seed 2 --work-dir work_dirs/source_r50_duke2market-seed2",
        ),
        ("other/source_r50_duke2market", " --work-dir other/source_r50_duke2market"),
    ],
)
def test_a_missing_run_of_a_config_comes_with_the_command_that_makes_it(missing, command):
    with pytest.raises(InputError) as caught:
        find_checkpoint(missing)
    expected = f"`python tools/train.py source_r50_duke2market{command}`"
    assert expected in str(caught.value) and f"{missing} does not exist" in str(caught.value)


@pytest.mark.parametrize("missing", ["nowhere/none.pth", "nowhere", "none.pth"])
def test_any_other_missing_file_is_named(missing):
    with pytest.raises(InputError, match=r"does not exist, .*: correct the path in load_from"):
        find_checkpoint(missing)


def test_a_run_without_a_finished_epoch_is_missing(tmp_path):
    (tmp_path / "last_checkpoint").write_text("epoch_1.pth")
    with pytest.raises(InputError, match="does not exist"):
        find_checkpoint(tmp_path)
