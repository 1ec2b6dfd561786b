"""Buckets of tokens, held against a simulation in small steps."""

import numpy as np

from mmreid_uda.serve.rates import RateLimiter


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_bucket_fills_as_a_simulation_in_small_steps_says():
    clock, rng = Clock(), np.random.default_rng(0)
    limiter = RateLimiter(2.0, 5.0, clock)
    level, step = 5.0, 1 / 1024
    for _ in range(300):
        pause = int(rng.integers(0, 1500))
        for _ in range(pause):
            level = min(5.0, level + 2.0 * step)
        clock.now += pause * step
        cost = float(rng.choice([0.25, 1.0]))
        wait = limiter.wait_for("10.0.0.1", cost)
        assert (wait == 0) == (level >= cost)
        if wait:
            assert abs(wait - (cost - level) / 2.0) < 1e-6
        else:
            level -= cost


def test_clients_have_buckets_of_their_own_and_of_ipv6_one_for_a_network():
    limiter = RateLimiter(1.0, 1.0, Clock())
    assert limiter.wait_for("10.0.0.1") == 0 and limiter.wait_for("10.0.0.1") > 0
    assert limiter.wait_for("10.0.0.2") == 0
    assert limiter.wait_for("2001:db8:0:1::1") == 0 and limiter.wait_for("2001:db8:0:1::2") > 0
    assert limiter.wait_for("2001:db8:0:2::1") == 0
    assert limiter.wait_for("testclient") == 0 and limiter.wait_for("testclient") > 0


def test_the_memory_for_clients_is_bounded():
    limiter = RateLimiter(1.0, 1.0, Clock())
    for number in range(12_000):
        limiter.wait_for(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limiter._buckets) == 10_000


def test_no_rate_lets_everything_pass():
    limiter = RateLimiter(0.0, 1.0, Clock())
    assert all(limiter.wait_for("10.0.0.1") == 0 for _ in range(100))
