"""SoftLabelsHook inside a real Runner: a teacher's selection and report, and whose soft labels a student takes."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.engine.hooks.soft_labels_hook import teacher_report
from mmreid_uda.structures import SoftLabels
from mmreid_uda.utils import InputError


def photographs(folder, name):
    """Random pictures of four people, 24 each; other names give other images with equal labels."""
    rng = np.random.default_rng(0)
    for person in range(4):
        (folder / f"{name}{person}").mkdir(parents=True)
        for number in range(24):
            picture = rng.integers(0, 255, (64, 32, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"{name}{person}" / f"{number}.png"), picture)
    return str(folder)


def make_runner(folder, work_dir, **options):
    shared = {
        "work_dir": str(work_dir),
        "experiment_name": work_dir.name,
        "target": dict(_delete_=True, type="FolderReIDDataset", data_root=folder),
        "target.noise": dict(wrong_id=0.0),
        "input_size": (64, 32),
        "global_batch_size": 4,
        "iters_per_epoch": 1,
        "train_cfg.max_epochs": 2,
        "train_cfg.val_interval": 10,
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "val_dataloader.num_workers": 0,
        "default_hooks.cluster.num_workers": 0,
        "default_hooks.report": None,
        "default_hooks.checkpoint.save_best": None,
    }
    return build_runner(load_config("configs/fat/fat_mbv2_synthb.py", {**shared, **options}))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Where the run of a teacher lies that is sure of nothing: one image of each person stays."""
    folder = tmp_path_factory.mktemp("people")
    unsure = dict(
        _delete_=True, type="ConfidentLabels", threshold=0.999, min_per_class=1, first_epoch=1
    )
    options = {
        "default_hooks.cluster.clusterer": unsure,
        "default_hooks.soft_labels.write": True,
    }
    make_runner(photographs(folder / "one", "a"), folder / "teacher", **options).train()
    return folder / "teacher"


@pytest.mark.slow
def test_what_an_unsure_teacher_selects_stands(teacher):
    first, second = (
        np.load(teacher / "pseudo_labels" / f"epoch_00{epoch}.npz") for epoch in (1, 2)
    )
    assert (first["labels"] >= 0).all()
    assert sorted(second["labels"][second["labels"] >= 0]) == [0, 1, 2, 3]
    [log] = teacher.glob("*/*.log")
    assert "policy" not in log.read_text().rpartition("Pseudo-labels of epoch 1")[2]


@pytest.mark.slow
def test_soft_labels_of_other_images_with_equal_labels_are_refused(teacher, tmp_path):
    other = photographs(tmp_path / "other", "b")
    runner = make_runner(other, tmp_path / "student", **{"model.head.soft_labels": str(teacher)})
    with pytest.raises(
        InputError,
        match=f"'{teacher}' were not made for the 96 images .*paths, .* the teacher again",
    ):
        runner.train()
    assert runner.iter == 0


def test_a_teacher_of_clean_labels_tells_what_it_spoils(teacher):
    soft = SoftLabels.load(teacher)
    right = [row.argmax() == label for row, label in zip(soft.probabilities, soft.labels)]
    assert json.loads((teacher / "teacher.json").read_text()) == dict(
        confident=pytest.approx(100 * 4 / 96),
        wrong=0,
        right_given=100,
        right_chosen=pytest.approx(100 * sum(right).item() / 96),
    )


# Six images: right; right, and taken for another; wrong and corrected; wrong and believed; wrong and corrected; and one
# of somebody who has no identity.
GIVEN, CLEAN, CHOSEN = [0, 1, 0, 1, 2, 2], [0, 1, 2, 0, 1, -1], [0, 2, 2, 1, 1, 1]


def report(clean, has_clean_labels=True):
    given = np.array(GIVEN)
    soft = SoftLabels(
        torch.from_numpy(given),
        torch.eye(3)[CHOSEN],
        torch.tensor([True, False, False, True, True, True]),
        "images",
    )
    noise = np.where(given == clean, "", "wrong_id")
    target = SimpleNamespace(
        true_labels=given,
        clean_labels=np.array(clean),
        noise=noise,
        has_clean_labels=has_clean_labels,
    )
    return teacher_report(soft, target)


def test_the_report_of_six_images():
    assert report(CLEAN) == dict(
        confident=pytest.approx(100 * 4 / 6),
        wrong=pytest.approx(100 * 4 / 6),
        right_given=40,
        right_chosen=60,
        corrected=pytest.approx(200 / 3),
        dropped=dict(precision=50, recall=25),
        disputed=dict(precision=75, recall=75),
    )


def test_a_report_says_what_is_known():
    assert report(GIVEN).keys() == {"confident", "wrong", "right_given", "right_chosen"}
    assert report(GIVEN, has_clean_labels=False).keys() == {"confident"}
    nobody = report([0, 1, 0, 1, 2, -1])
    assert "dropped" in nobody and "corrected" not in nobody
