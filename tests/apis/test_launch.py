"""How a tool ends: with a sentence, or with what its user can do after an interruption."""

import io
import sys

import pytest

from mmreid_uda.apis import run_tool
from mmreid_uda.utils import InputError


def test_bad_input_is_one_sentence_and_an_exit_status(capsys):
    def main():
        raise InputError("found 3 wheels, expected 4.")

    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: found 3 wheels, expected 4.\n"


@pytest.mark.parametrize(
    "advice, said", [({}, "interrupted\n"), ({"resume": "go on"}, "interrupted; go on\n")]
)
def test_only_a_tool_that_can_go_on_says_how(capsys, advice, said):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        run_tool(main, **advice)
    assert stopped.value.code == 130 and capsys.readouterr().err == said


def test_a_name_that_is_not_utf_8_is_printed(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    run_tool(lambda: print(b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), flush=True))
    assert stdout.buffer.getvalue() == b"caf\\udce9.jpg\n"
