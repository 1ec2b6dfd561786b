"""What every tool of inference understands on its command line."""

import argparse

import pytest

from mmreid_uda.cli import add_inferencer_arguments, add_time_prior, time_prior_of_arguments
from mmreid_uda.utils import InputError


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


def test_options_of_a_time_prior_want_one():
    parser = argparse.ArgumentParser()
    add_time_prior(parser)

    def options(*words):
        return time_prior_of_arguments(parser.parse_args(words))

    assert options() is None and options("--time-prior", "run") == dict(labels="run")
    assert options("--time-prior", "run", "--period", "5") == dict(labels="run", period=5)
    with pytest.raises(InputError, match="found --num-bins without --time-prior, expected a run"):
        options("--num-bins", "3")
