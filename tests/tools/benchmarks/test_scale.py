"""The benchmark of very many images, run small: cases are measured and compared, and laws are those of the figures."""

import json

import numpy as np
import pytest
from scale_costs import fit_law


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
    assert np.isnan(fit_law([1, 2], [3, 4]).error)


@pytest.mark.slow
def test_cases_are_measured_beside_the_exact_search(run_benchmark, tmp_path):
    path = tmp_path / "scale.json"
    result = run_benchmark(
        *("scale", "--num-images", 600, 900, "--dim", 16, "--exact-up-to", 700, "--search"),
        *("exact", "ivf", "--clusterer", "k1=10", "nprobe=2", "--predict", 5000, "--json", path),
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads(path.read_text())
    cases = {(case["images"], case["search"]): case for case in metrics["cases"]}
    assert set(cases) == {(600, "exact"), (600, "ivf"), (900, "ivf")}
    assert cases[600, "exact"]["recall"] == 1 > cases[600, "ivf"]["recall"] > 0
    assert (
        0 < cases[600, "ivf"]["ari_with_exact"] <= 1 and "ari_with_exact" not in cases[900, "ivf"]
    )
    for case in metrics["cases"]:
        assert case["peak"] > case["anonymous"] > 0 and case["cpu_seconds"] > 0
        assert sum(case["seconds"].values()) == pytest.approx(case["total"], rel=0.2)
    [total] = [law for law in metrics["laws"] if law["step"] == "total"]
    assert total["search"] == "ivf" and total["predicted"] > 0


def test_settings_need_a_value(run_benchmark):
    result = run_benchmark("scale", "--clusterer", "nprobe")
    assert result.returncode == 2 and "expected KEY=VALUE" in result.stderr
