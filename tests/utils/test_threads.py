"""Threads are settled by the machine, their waiting by its load, and a user's word holds."""

import os
import subprocess
import sys

import pytest

from mmreid_uda.utils import threads
from mmreid_uda.utils.threads import busy_cores, describe_threads, settle_threads


@pytest.fixture
def bare(monkeypatch):
    """An environment in which nobody has chosen anything, on four cores, with the load that is asked for."""
    for name in (
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"),
        *("KMP_BLOCKTIME", "LOCAL_RANK", "SLURM_PROCID", "MMREID_BUSY_CORES"),
    ):
        # Noted by monkeypatch, so that what the function sets is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(threads, "num_cores", lambda: 4)
    monkeypatch.setattr(threads, "_bound_cores", lambda: 4)

    def loaded(busy):
        monkeypatch.setattr(threads, "busy_cores", lambda: busy)
        return monkeypatch

    return loaded


def chosen():
    return {
        name: os.environ[name]
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")
        if name in os.environ
    }


@pytest.mark.parametrize("busy", [0.0, 1.0, None])
def test_a_quiet_machine_is_left_as_it_is(bare, busy):
    bare(busy)
    settle_threads()
    assert chosen() == {}


def test_waiting_threads_sleep_beside_busy_processes_and_their_number_stays(bare):
    bare(1.1)
    settle_threads()
    assert chosen() == dict(OMP_WAIT_POLICY="PASSIVE")
    assert "1.1 cores were busy" in describe_threads()


def test_a_process_looks_for_itself_at_what_the_one_that_has_started_it_has_found(bare):
    bare(1.1)
    settle_threads()
    bare(0.0)
    settle_threads()
    assert chosen() == {} and "MMREID_BUSY_CORES" not in os.environ


@pytest.mark.parametrize(
    "name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "LOCAL_RANK", "SLURM_PROCID"]
)
def test_what_is_set_or_inside_a_rank_stays(bare, name):
    bare(4.0).setenv(name, "7")
    settle_threads()
    assert chosen() == ({name: "7"} if name == "OMP_WAIT_POLICY" else {})


def test_ranks_share_the_cores_whatever_the_load(bare):
    for busy in (0.0, 0.9):
        bare(busy)
        settle_threads(ranks=3)
        assert chosen() == dict(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
        del os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]
    settle_threads(ranks=2)
    assert chosen() == dict(OMP_NUM_THREADS="2", MKL_NUM_THREADS="2")
    del os.environ["OMP_NUM_THREADS"]
    os.environ["MKL_NUM_THREADS"] = "3"
    settle_threads(ranks=8)
    assert chosen() == dict(OMP_NUM_THREADS="1", MKL_NUM_THREADS="3")


def test_one_thread_waits_for_nobody(bare):
    bare(4.0).setenv("OMP_NUM_THREADS", "1")
    settle_threads()
    assert chosen() == dict(OMP_NUM_THREADS="1")


def test_a_container_of_fewer_cores_than_torch_sees_limits_the_threads(bare):
    bare(0.0).setattr(threads, "_bound_cores", lambda: 16)
    settle_threads()
    assert chosen() == dict(OMP_NUM_THREADS="4", MKL_NUM_THREADS="4")


def test_busy_cores_are_read_from_the_counters_of_those_allowed(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    # user nice system idle iowait irq softirq steal guest guest_nice
    before = [
        "cpu0 10 0 10 50 5 0 0 0 3 0",
        "cpu1 0 0 0 100 0 0 0 0 0 0",
        "cpu2 9 9 9 9 9 9 9 9 0 0",
    ]
    after = [
        "cpu0 14 1 11 53 6 0 0 0 9 0",
        "cpu1 0 0 0 108 2 0 0 0 0 0",
        "cpu2 99 9 9 9 9 9 9 9 0 0",
    ]
    texts = iter(["cpu 0 0 0 0 0 0 0 0 0 0\n" + "\n".join(lines) for lines in (before, after)])
    monkeypatch.setattr(threads, "_STAT", stat)
    monkeypatch.setattr(threads.time, "sleep", lambda seconds: stat.write_text(next(texts)))
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    stat.write_text(next(texts))
    assert busy_cores() == pytest.approx(2 * 6 / 20)
    stat.unlink()
    assert busy_cores() is None


def test_torch_is_not_loaded_by_it():
    code = (
        "import sys; from mmreid_uda.utils.threads import settle_threads; settle_threads();"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
