"""What a run says of its pseudo-labels: in the log, in the history that a checkpoint keeps, and in a file."""

import json
from types import SimpleNamespace

import numpy as np
import torch

from mmreid_uda.engine.label_report import health_of, report_labels, save_labels
from mmreid_uda.structures import Evidence, PseudoLabelState

LABELS = np.array([0, 0, 1, 1, -1])


def images(true_labels=-1, **known):
    evidence = Evidence(np.zeros(5), **known)
    true_labels = np.broadcast_to(true_labels, 5)
    return SimpleNamespace(
        evidence=evidence, true_labels=true_labels, paths=[f"{n}.jpg" for n in range(5)]
    )


def state(epoch, **statistics):
    labels = torch.from_numpy(LABELS)
    figures = dict(images=5.0, outliers=1.0, clusters=2.0, seconds_jaccard=0.25, seconds_dbscan=1.5)
    return PseudoLabelState(epoch, labels, torch.eye(5), statistics=figures | statistics)


def test_epochs_are_compared_where_there_were_labels_and_with_identities_where_they_are_known():
    nobody = np.full(5, -1)
    assert health_of(LABELS, nobody, None, images()) == {}
    figures = health_of(LABELS, LABELS, np.arange(5) % 2, images([3, 3, 3, -1, -1]))
    assert figures["ari_previous"] == 1 and figures["ari_mirrored"] < 1
    assert figures["purity"] == 1 and figures["nmi"] < 1


def test_an_epoch_is_logged_with_its_own_warnings_and_kept_without_seconds():
    said, drawn = [], []
    runner = SimpleNamespace(
        logger=SimpleNamespace(info=said.append, warning=said.append),
        visualizer=SimpleNamespace(add_scalars=lambda scalars, step: drawn.append((step, scalars))),
    )
    history = {}
    merged = dict(clusters=9.0, largest=5.0, images=5.0, outliers=0.0)
    for epoch in range(2):
        seconds = dict(extract=3.0, cluster=2.0, refine=0.5)
        report_labels(runner, state(epoch, **merged), seconds, history)
    profile = "(extract 3.0 / jaccard 0.2 / dbscan 1.5 / refine 0.5 s)"
    assert [line.startswith("Pseudo-labels of epoch") for line in said] == [True] * 3
    assert profile in said[0] and profile in said[2] and "seconds" not in said[0]
    assert said[1].startswith("Pseudo-labels of epoch 1: one cluster holds")
    assert history.keys() == {0, 1} and history[1].keys() == merged.keys()
    assert [step for step, _ in drawn] == [0, 1]
    assert drawn[0][1]["cluster/seconds_dbscan"] == 1.5


def test_a_file_has_what_a_time_prior_needs_where_times_are_known(tmp_path):
    runner = SimpleNamespace(work_dir=tmp_path)
    save_labels(runner, state(0), images())
    save_labels(runner, state(1), images(times=np.arange(5)))
    without, timed = (
        np.load(tmp_path / "pseudo_labels" / f"epoch_00{number}.npz") for number in (1, 2)
    )
    assert set(without) == {"labels", "paths", "statistics"}
    assert timed["times"].tolist() == list(range(5)) and timed["cameras"].tolist() == ["0"] * 5
    assert timed["labels"].tolist() == LABELS.tolist() and timed["paths"][4] == "4.jpg"
    assert json.loads(str(timed["statistics"]))["clusters"] == 2
