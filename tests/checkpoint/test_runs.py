"""Finding checkpoints: by file, by the folder of a run, and the command that makes a missing one."""

import os

import pytest

from mmreid_uda.checkpoint import find_checkpoint, find_labels, run_config
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


def test_config_and_labels_of_a_run_are_found(tmp_path):
    with pytest.raises(InputError, match="found 0 config files in"):
        run_config(tmp_path)
    with pytest.raises(InputError, match="found no pseudo-labels in"):
        find_labels(tmp_path)
    (tmp_path / "pseudo_labels").mkdir()
    for place, name in enumerate(("old.py", "new.py", "pseudo_labels/epoch_002.npz")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (place, place))
    (tmp_path / "pseudo_labels/epoch_001.npz").touch()
    assert run_config(tmp_path).name == "new.py"
    assert find_labels(tmp_path).name == find_labels(find_labels(tmp_path)).name == "epoch_002.npz"
