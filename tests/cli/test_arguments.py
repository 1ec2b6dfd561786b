"""What every tool of inference understands on its command line."""

import argparse

import pytest

from mmreid_uda.cli import add_inferencer_arguments


@pytest.mark.parametrize(
    "words, said",
    [
        (["--batch-size", "0"], "--batch-size: found '0', expected a whole number of at least 1."),
        (["--batch-size", "1.5"], "--batch-size: found '1.5', expected a whole number"),
        (
            ["--num-workers", "-1"],
            "--num-workers: found '-1', expected a whole number of at least 0.",
        ),
        (["--cfg-options", "nonsense"], "found the option 'nonsense', expected key=value;"),
    ],
)
def test_what_cannot_be_is_an_error_of_usage(words, said, capsys):
    parser = argparse.ArgumentParser()
    add_inferencer_arguments(parser)
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(words)
    assert stopped.value.code == 2 and said in capsys.readouterr().err
    args = parser.parse_args(["--batch-size", "1", "--num-workers", "0", "--cfg-options", "a.b=3"])
    assert (args.batch_size, args.num_workers, args.cfg_options) == (1, 0, {"a.b": 3})
