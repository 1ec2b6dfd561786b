"""The pipeline says what is wrong with its second stage before it trains the first."""

import pytest
from deployment import call_tool

ABMT = "configs/abmt/abmt_mbv2_syntha2synthb.py"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("configs/none.py",), "error: found no config file 'configs/none.py'"),
        ((ABMT, "--cfg-options", "eps=0.3"), "error: found the option `eps`, which nothing reads"),
        ((ABMT, "--processes", "3"), "error: found global_batch_size=64"),
        ((ABMT, "--processes", "0"), "--processes: found '0'"),
    ],
)
def test_the_second_stage_is_checked_first(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        call_tool("tools/pipeline.py", *arguments)
    written = capsys.readouterr()
    assert stopped.value.code == 2 and said in written.err and "==>" not in written.out


def test_weights_that_have_an_address_are_not_trained_first(monkeypatch):
    commands = []
    monkeypatch.setattr("mmreid_uda.cli.run_command", lambda command: commands.append(command))
    options = ("--cfg-options", "stage1=rendered://mobilenet_v2")
    call_tool("tools/pipeline.py", "mmt-k150_mbv2_syntha2synthb", *options)
    [command] = commands
    assert "mmt-k150_mbv2_syntha2synthb" in command and command[-1] == options[1]
