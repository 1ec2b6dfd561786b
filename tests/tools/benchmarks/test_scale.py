"""The benchmark of very many images, run small: cases are measured and compared, and laws are those of the figures."""

import json
from argparse import Namespace

import numpy as np
import pytest
import scale_costs
from scale_costs import fit_law, measure, report, serial_share

from mmreid_uda.utils import InputError


def test_a_law_is_the_line_through_the_logarithms():
    sizes = np.array([100, 1000, 5000, 40_000])
    law = fit_law(sizes, 0.5 * sizes**1.5)
    np.testing.assert_allclose([law.factor, law.exponent, law.at(10)], [0.5, 1.5, 0.5 * 10**1.5])
    assert law.error < 1e-6
    # The normal equations by hand, with noise.
    noisy = 0.5 * sizes**1.5 * np.array([1.1, 0.9, 1.2, 1.0])
    x = np.stack([np.ones(4), np.log(sizes)], 1)
    beta, [squares], *_ = np.linalg.lstsq(x, np.log(noisy), rcond=None)
    error = np.sqrt(squares / 2 * np.linalg.inv(x.T @ x)[1, 1])
    law = fit_law(sizes, noisy)
    np.testing.assert_allclose([np.log(law.factor), law.exponent, law.error], [*beta, error])
    few = fit_law([1, 2], [3, 4])
    assert np.isnan(few.error) and np.isnan(few.times(3))
    # The interval of one more case, by the matrix of the normal equations; 4.303 is of Student's table, 2 degrees.
    far = np.array([1, np.log(1e6)])
    width = np.sqrt(squares / 2 * (1 + far @ np.linalg.inv(x.T @ x) @ far))
    np.testing.assert_allclose(np.log(law.times(1_000_000)), 4.303 * width, rtol=1e-4)


def test_19_of_20_cases_to_come_are_within_the_factor():
    rng = np.random.default_rng(0)
    sizes = np.array([1000, 1000, 8000, 8000, 64_000, 64_000])
    within = 0
    for _ in range(400):
        costs = 1e-3 * sizes**1.4 * np.exp(rng.normal(0, 0.1, 6))
        law, cost = fit_law(sizes, costs), 1e-3 * 1e6**1.4 * np.exp(rng.normal(0, 0.1))
        within += 1 / law.times(10**6) <= cost / law.at(10**6) <= law.times(10**6)
    assert 0.92 * 400 < within < 0.98 * 400


def test_what_ranks_do_not_divide():
    assert serial_share(10, 5, 2) == 0 and serial_share(10, 10, 2) == 1
    assert serial_share(10, 2.5 + 0.75 * 10 / 4, 4) == pytest.approx(0.25)
    assert serial_share(10, 4, 2) == 0 and serial_share(10, 11, 2) == 1


def test_a_case_that_fails_costs_no_other_and_memory_grows_from_where_it_stood(monkeypatch):
    def run(path, settings, ranks, threads):
        num = int(path.stem)
        if (settings["search"], num) == ("ivf", 300):
            raise InputError("no room")
        figures = dict.fromkeys(("cpu_seconds", "peak", "recall", "clusters", "outliers"), 1)
        seconds = dict(seconds=dict(search=num / 50), total=num / 50)
        return figures | seconds | dict(anonymous=2**30 + num, added=num), np.arange(num) % 3

    monkeypatch.setattr(scale_costs, "_run", run)
    args = dict(num_images=[100, 200, 300], dim=4, seed=0, ranks=[1], threads=1, repetitions=2)
    args |= dict(
        search=["exact", "ivf"], exact_up_to=300, clusterer=[], max_memory="1GiB", cases=[]
    )
    metrics = measure(Namespace(**args, predict=[1000], processes=[1]))
    assert len(metrics["cases"]) == 10
    assert metrics["failed"] == ["300 x 4 ivf 1 rank(s): no room"]
    added = [law for law in metrics["laws"] if law["step"] == "added GiB"]
    assert [law["exponent"] for law in added] == pytest.approx([1, 1])
    assert "added GiB" in report(metrics)
    with pytest.raises(InputError, match="no room"):
        measure(
            Namespace(**args | dict(num_images=[300], search=["ivf"]), predict=[], processes=[])
        )


@pytest.mark.slow
def test_cases_are_measured_beside_the_exact_search(run_benchmark, tmp_path):
    path = tmp_path / "scale.json"
    result = run_benchmark(
        *("scale", "--num-images", 600, 900, "--dim", 16, "--exact-up-to", 700, "--search"),
        *("exact", "ivf", "--clusterer", "k1=10", "nprobe=2", "--ranks", 1, 2, "--json", path),
        *("--predict", 5000, "--processes", 1, 64),
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads(path.read_text())
    assert len(metrics["cases"]) == 6
    cases = {(case["images"], case["search"]): case for case in metrics["cases"]}
    assert set(cases) == {(600, "exact"), (600, "ivf"), (900, "ivf")}
    assert cases[600, "exact"]["recall"] == 1 > cases[600, "ivf"]["recall"] > 0
    assert (
        0 < cases[600, "ivf"]["ari_with_exact"] <= 1 and "ari_with_exact" not in cases[900, "ivf"]
    )
    for case in metrics["cases"]:
        assert case["peak"] > case["anonymous"] > case["added"] >= 0 and case["cpu_seconds"] > 0
        assert sum(case["seconds"].values()) == pytest.approx(case["total"], rel=0.2)
    totals = [law for law in metrics["laws"] if law["step"] == "total"]
    assert [(law["search"], law["ranks"]) for law in totals] == [("ivf", 1), ("ivf", 2)]
    [outlook] = metrics["outlook"]
    assert outlook["search"] == "ivf" and outlook["images"] == 5000
    laws = {law["step"]: law for law in metrics["laws"] if law["ranks"] == 1}
    by_hand = sum(
        laws[step]["predicted"]["5000"] * (share + (1 - share) / 64)
        for step, share in outlook["serial"].items()
    )
    assert outlook["seconds"]["64"] == pytest.approx(by_hand)
    assert outlook["seconds"]["64"] <= outlook["seconds"]["1"]
    # Laws of earlier cases alone are the same.
    again = run_benchmark(
        *("scale", "--num-images", "--cases", path, "--predict", 5000, "--processes", 1, 64)
    )
    assert again.returncode == 0 and again.stdout == result.stdout[-len(again.stdout) :]


def test_cases_come_from_a_file_of_json(run_benchmark, tmp_path):
    path = tmp_path / "other.json"
    path.write_text("[]")
    result = run_benchmark("scale", "--num-images", "--cases", path)
    assert result.returncode == 2 and "expected a file of --json" in result.stderr


def test_settings_need_a_value(run_benchmark):
    result = run_benchmark("scale", "--clusterer", "nprobe")
    assert result.returncode == 2 and "expected KEY=VALUE" in result.stderr
