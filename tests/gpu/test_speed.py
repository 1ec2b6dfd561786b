"""What measures the speed computes the same as the bare network, however it computes."""

import pytest
from gpu_checks.speed import (
    MODES,
    check_extraction,
    check_iteration,
    check_products,
    check_profile,
    check_speed,
)
from gpu_checks.suite import MEAN_TEACHERS

SMALL = dict(size=16, image=(128, 64))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("check", [check_speed, check_extraction])
def test_a_bare_loop_computes_the_same(passes, check, mode):
    passes(check, mode=mode, seconds=0.2, **SMALL)


def test_the_profiler_sees_the_card(passes):
    passes(check_profile, mode=MODES[1], **SMALL)


def test_products_are_timed(passes):
    passes(check_products, size=1024)


def test_an_iteration_of_a_mean_teacher_is_timed(passes):
    passes(check_iteration, config=MEAN_TEACHERS[0], repetitions=2)
