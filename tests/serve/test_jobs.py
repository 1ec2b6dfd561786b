"""Jobs: one at a time, a few that wait, trainings that end with the server."""

import queue
import sys
import threading
import time

import pytest

from mmreid_uda.serve.jobs import Jobs, Training
from mmreid_uda.utils import InputError


@pytest.fixture
def jobs():
    jobs = Jobs(2)
    yield jobs
    jobs.close()


def wait_for(job, *states):
    deadline = time.monotonic() + 20
    while job.state not in states:
        assert time.monotonic() < deadline, job
        time.sleep(0.001)


def test_jobs_run_one_after_the_other_and_few_wait(jobs):
    going, running = threading.Event(), []

    def work(job):
        running.append(job)
        going.wait(20)
        return {"place": len(running)}

    first = jobs.start("recluster", work)
    wait_for(first, "running")
    others = [jobs.start("recluster", work) for _ in range(2)]
    with pytest.raises(queue.Full):
        jobs.start("recluster", work)
    assert [one.state for one in others] == ["waiting", "waiting"] and len(running) == 1
    assert jobs.busy("recluster") and not jobs.busy("training")
    going.set()
    wait_for(others[1], "done")
    assert [one.result["place"] for one in (first, *others)] == [1, 2, 3]
    assert jobs.find(first.id) is first and jobs.find("x") is None and not jobs.busy("recluster")


def test_a_job_that_fails_says_why_and_the_next_one_runs(jobs):
    def fail(job):
        raise InputError("found no cluster, expected some; add images.")

    first = jobs.start("recluster", fail)
    second = jobs.start("recluster", lambda job: {})
    wait_for(second, "done")
    assert (first.state, first.error) == ("failed", "found no cluster, expected some; add images.")


def test_ended_jobs_are_remembered_up_to_a_number(jobs):
    started = []
    for _ in range(130):
        started.append(jobs.start("recluster", lambda job: {}))
        wait_for(started[-1], "done")
    assert jobs.find(started[0].id) is None and jobs.find(started[-1].id) is not None
    assert len(jobs._jobs) <= 102


def test_a_training_shows_its_last_lines(jobs):
    lines = "for number in range(300): print('line', number)"
    job = jobs.start("training", Training([sys.executable, "-c", lines], jobs.stopping))
    wait_for(job, "done", "failed")
    assert job.state == "done" and list(job.log)[-1] == "line 299" and len(job.log) == 100


def test_a_training_that_fails_gives_its_last_line(jobs):
    code = "print('start'); raise SystemExit('found no data, expected some')"
    job = jobs.start("training", Training([sys.executable, "-c", code], jobs.stopping))
    wait_for(job, "failed")
    assert "status 1" in job.error and "found no data" in job.error


def test_a_training_ends_with_the_server():
    jobs = Jobs(2)
    code = "import time; print('going', flush=True); time.sleep(60)"
    job = jobs.start("training", Training([sys.executable, "-c", code], jobs.stopping))
    waiting = jobs.start("training", lambda job: {})
    while "going" not in job.log:
        time.sleep(0.001)
    started = time.monotonic()
    jobs.close()
    assert time.monotonic() - started < 10
    assert job.state == "failed" and "the server ending" in job.error
    assert waiting.state in ("failed", "waiting") and waiting.result is None
