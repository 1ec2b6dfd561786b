"""The comparison of methods: its plan, the configs it makes, a stopped command that goes on, and our own table."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from deployment import REPOSITORY, call_tool

from mmreid_uda.config import load_config
from mmreid_uda.utils import InputError

sys.path.append(str(REPOSITORY / "tools" / "analysis"))
import compare_methods

OURS = REPOSITORY / "docs" / "comparison.yml"


def write(path, **changes):
    """A plan of two methods and one set, with some keys changed."""
    plan = dict(
        seeds=[1],
        common={"train_cfg": {"max_epochs": 2, "val_interval": 2}},
        methods={
            "plain": dict(config="cluster-contrast_mbv2_synthb", knowledge="none", batch=8),
            "aware": dict(config="ise_mbv2_synthb", knowledge="cameras", batch=4),
        },
        data={
            "street": dict(
                images_per_epoch=16,
                options={"target": "synthb"},
                knowledge={"none": {"evidence": None}, "cameras": {"evidence": {"camera": "both"}}},
            )
        },
    )
    path.write_text(yaml.safe_dump({**plan, **changes}))
    return path


def test_a_config_is_that_of_the_method_with_what_the_plan_says(tmp_path):
    plan = compare_methods.read_plan(write(tmp_path / "plan.yml"))
    path = tmp_path / "aware.py"
    path.write_text(compare_methods.config_text(plan, "aware", "street"))
    cfg = load_config(path)
    assert cfg.model.type == "ISE" and cfg.evidence == {"camera": "both"}
    assert (cfg.global_batch_size, cfg.iters_per_epoch, cfg.train_cfg.max_epochs) == (4, 4, 2)
    assert cfg.clusterer.k1 == 10  # the method's own, of which the plan says nothing


def test_every_cell_of_our_plan_is_a_config():
    plan = compare_methods.read_plan(OURS)
    assert len(plan["methods"]) == 8
    for method in plan["methods"]:
        for data in plan["data"]:
            compile(compare_methods.config_text(plan, method, data), f"{method}-{data}", "exec")


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(extra=1), "expected data, methods, seeds"),
        (dict(methods={"a": dict(config="x", knowledge="none", batch=1, lr=1)}), "methods.a .* lr"),
        (dict(methods={"a": dict(config="x")}), "methods.a .* expected batch, config"),
        (dict(methods={"a": dict(config="x", batch=64)}), "images_per_epoch=16, .* batch of 64"),
        (dict(methods={"a": dict(config="x", knowledge="links", batch=1)}), "wants .* 'links'"),
    ],
)
def test_a_wrong_plan_is_one_sentence(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        compare_methods.read_plan(write(tmp_path / "plan.yml", **changes))


def test_a_table_has_means_and_deviations():
    cells = {("a", "x"): [(10, 20), (12, 26)], ("a", "y"): [], ("b", "x"): [(1.04, 2.0)]}
    assert compare_methods.table(cells).splitlines()[2:] == [
        "| a | 11.0 ± 1.4 / 23.0 ± 4.2 | – |",
        "| b | 1.0 / 2.0 (one seed) | – |",
    ]


@pytest.mark.slow
def test_what_is_finished_is_not_run_again(tiny, tmp_path, capsys):
    config = str(tiny())
    cells = dict(knowledge="none", batch=8)
    plan = write(
        tmp_path / "plan.yml",
        methods={"plain": dict(config=config, **cells), "same": dict(config=config, **cells)},
        common={"train_cfg": {"max_epochs": 1, "val_interval": 1}},
        data={"tiny": dict(images_per_epoch=16, options={}, knowledge={"none": {}})},
    )
    work_dir = tmp_path / "runs"
    words = ("tools/analysis/compare_methods.py", plan, "--work-dir", work_dir)
    call_tool(*words, "--methods", "plain")
    assert "==> plain on tiny, seed 1" in capsys.readouterr().out
    results = work_dir / "tiny" / "plain-seed1" / "results.json"
    last = json.loads(results.read_text())["epochs"]["1"]
    written, figure = results.stat().st_mtime_ns, f"{last['synthb/mAP']:.1f} / "
    call_tool(*words, "--methods", "plain", "--out", tmp_path / "table.md")
    assert figure in capsys.readouterr().out and figure in (tmp_path / "table.md").read_text()
    assert results.stat().st_mtime_ns == written
    call_tool(*words, "--table")
    assert "| same | – |" in capsys.readouterr().out
    changed = yaml.safe_load(plan.read_text())
    changed["data"]["tiny"]["images_per_epoch"] = 24
    plan.write_text(yaml.safe_dump(changed))
    with pytest.raises(SystemExit):
        call_tool(*words, "--methods", "plain")
    assert "another plan, or of another version" in capsys.readouterr().err


def test_the_page_has_the_table_of_the_plan():
    plan = compare_methods.read_plan(OURS)
    page = Path(REPOSITORY, "docs", "which_method.md").read_text()
    cells = {key: runs for key, runs in compare_methods.noted_cells(plan).items() if runs}
    for line in compare_methods.table(cells).splitlines()[2:] if cells else ():
        figures = line.split(" | ", 1)[1].rstrip(" |")
        assert figures in page
