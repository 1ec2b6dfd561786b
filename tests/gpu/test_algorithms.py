"""Every algorithm on the GPU: its step is the CPU's, in mixed precision nearly so; its trainings end and repeat."""

import pytest
from gpu_checks.algorithms import ALGORITHMS, STEPS_ALONE
from gpu_checks.ranks import check_ranks
from gpu_checks.steps import check_deterministic_step, check_mixed_step, check_step
from gpu_checks.training import check_repetition, check_training


@pytest.mark.parametrize("config", [*ALGORITHMS, *STEPS_ALONE])
@pytest.mark.parametrize("check", [check_step, check_mixed_step, check_deterministic_step])
def test_a_step_equals_that_of_the_cpu(passes, check, config):
    passes(check, config=config)


@pytest.mark.parametrize("config", ALGORITHMS)
@pytest.mark.parametrize("mixed", [False, True])
def test_a_training_ends_and_goes_on_after_a_stop(passes, data_root, config, mixed):
    passes(check_training, config=config, data_root=str(data_root), mixed=mixed)


@pytest.mark.parametrize("config", ALGORITHMS[:3])
def test_a_deterministic_training_repeats_itself(passes, data_root, config):
    passes(check_repetition, config=config, data_root=str(data_root))


@pytest.mark.parametrize("config", ALGORITHMS[:2])
@pytest.mark.parametrize("backend", ["gloo", "nccl"])
def test_two_processes_make_the_step_of_one(passes, data_root, config, backend):
    passes(check_ranks, config=config, data_root=str(data_root), backend=backend)
