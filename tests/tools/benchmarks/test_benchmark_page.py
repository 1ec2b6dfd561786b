"""The benchmark of the page: few images, real frames."""

import json

import pytest
from deployment import call_tool

from mmreid_uda.utils.browser import find_chromium

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this system")
def test_views_are_measured(tmp_path, capsys):
    call_tool(
        "tools/benchmarks/benchmark_page.py",
        "--images",
        600,
        "--turns",
        10,
        "--dim",
        8,
        "--json",
        tmp_path / "page.json",
    )
    views = json.loads((tmp_path / "page.json").read_text())["views"]
    assert list(views) == [
        "search, slow", "search, fast", "clusters, slow", "clusters, fast", "map, dragged"
    ]  # fmt: skip
    assert all(one["frames"] > 5 and one["elements"] < 600 for one in views.values())
    assert "median ms" in capsys.readouterr().out
