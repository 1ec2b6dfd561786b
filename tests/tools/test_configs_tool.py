"""The list of configs, and a config by its name on a command line."""

import pytest
from deployment import call_tool

from mmreid_uda.cli import ToolParser


def test_variants_are_listed_with_figures_and_keys(capsys):
    call_tool("tools/configs.py", "ise-*_r50_msmt17", "--overrides")
    listed = capsys.readouterr().out
    assert "ise-pli_r50_msmt17  MSMT17 33.5 / 63.9, quoted" in listed
    assert "ise_r50_msmt17.py  model.lp_weight=0.0" in listed and "ise_r50_market" not in listed


def test_a_pattern_that_names_none_is_an_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        call_tool("tools/configs.py", "none-*")
    assert stopped.value.code == 2 and "named like 'none-*'" in capsys.readouterr().err


def test_a_model_is_another_way_to_write_the_first_argument():
    parser = ToolParser()
    parser.add_config()
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--amp", action="store_true")
    for words in (
        ["x", "y", "--amp"],
        ["--amp", "--model", "x", "y"],
        ["y", "--model", "x", "--amp"],
    ):
        args = parser.parse_intermixed_args(words)
        assert (args.config, args.checkpoint, args.amp) == ("x", "y", True)
