"""Images that a start was not trained for are told without labels, with the option that takes another start."""

import sys
from pathlib import Path

import cv2
import pytest
from deployment import REPOSITORY, call_tool

from mmreid_uda.config import load_config
from mmreid_uda.datasets import FolderReIDDataset
from mmreid_uda.datasets.catalog import orl_faces_folder
from mmreid_uda.utils import InputError

BACKBONE = "encoder.backbone.init_cfg.checkpoint"


@pytest.fixture(scope="module")
def fit():
    """The module, which stands beside the tool."""
    sys.path.insert(0, str(REPOSITORY / "tools" / "data"))
    import start_fit

    yield start_fit
    sys.path.remove(str(REPOSITORY / "tools" / "data"))


def test_people_are_told_from_faces_and_from_people_on_their_heads(fit, starts, crops):
    people = [cv2.imread(path) for path in crops[:64]]
    faces = sorted(map(str, Path(orl_faces_folder()).glob("s[1-9]/[1-5].pgm")))
    found = fit.likeness("rendered://tiny", crops[:64])
    assert found > 3 * fit.THRESHOLD
    assert fit.likeness("rendered://tiny", [image[::-1].copy() for image in people]) < 0.6 * found
    assert fit.likeness("rendered://tiny", faces) < fit.THRESHOLD


def test_a_start_is_found_in_a_config_or_named(fit, starts):
    name = "cluster-contrast_mbv2_photos"
    assert fit.start_of(None) is None
    assert fit.start_of(load_config(name, {"stage1": None})) is None
    by_backbone = load_config(name, {"stage1": None, BACKBONE: "rendered://tiny"})
    assert fit.start_of(by_backbone) == ("rendered://tiny", f"{BACKBONE}='bundled://tiny'")
    by_stage1 = load_config(name, {"stage1": "rendered://tiny"})
    assert fit.start_of(by_stage1) == ("rendered://tiny", "stage1=None")
    by_run = load_config(name, {"stage1": "work_dirs/run", BACKBONE: "rendered://tiny"})
    assert fit.start_of(by_run) is None
    assert fit.start_of(by_run, "rendered://tiny") == ("rendered://tiny", "stage1=None")
    with pytest.raises(InputError, match="bundled://mobilenet_v2 is unknown"):
        fit.start_of(None, "bundled://mobilenet_v2")


def test_the_check_warns_of_what_does_not_fit(starts, crops, tmp_path, capsys):
    for number, path in enumerate(crops[:12]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.imread(path))
    (tmp_path / "broken.png").write_bytes(b"no image")
    tool, words = "tools/data/check_dataset.py", ("cluster-contrast_mbv2_photos", "--no-decode")
    options = ("--cfg-options", f"target.data_root={tmp_path}", "stage1=rendered://tiny")
    call_tool(tool, *words, *options)
    said = capsys.readouterr().out
    assert f"{tmp_path.name} looks like standing people" in said
    call_tool(tool, *words, *options[:2], "stage1=None")
    assert "standing people" not in capsys.readouterr().out
    call_tool(tool, "orl", "--no-decode", "--start", "rendered://tiny")
    said = capsys.readouterr().out
    assert "orl does not look like standing people" in said and "in 200 images" in said
    assert f"with ImageNet by {BACKBONE}='bundled://tiny'" in said and "0 problems" in said


def test_images_that_cannot_be_read_are_not_compared(fit, starts, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    dataset = FolderReIDDataset(data_root=str(tmp_path), labels="unlabeled")
    said = fit.said_of(("rendered://tiny", "stage1=None"), dataset)
    assert said.endswith(
        "has no image that could be compared with what rendered://tiny was trained on"
    )
