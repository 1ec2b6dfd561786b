"""A long step writes a line now and then, a short one none."""

import pytest

from mmreid_uda.utils import progress as progress_module
from mmreid_uda.utils.progress import Progress


def test_lines_come_at_intervals(monkeypatch):
    now, lines = [0.0], []
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress_module, "print_log", lambda line, logger: lines.append(line))
    progress = Progress("ranking", 1000, "queries", every=30)
    for second in range(0, 100, 10):
        now[0] = float(second)
        progress.update(5 * second)
    assert lines == [f"ranking: {5 * s}/1000 queries, 5 queries/s" for s in (30, 60, 90)]


@pytest.mark.parametrize("done", [1, 1000])
def test_a_short_step_is_silent(done, capsys):
    Progress("ranking", 1000, "queries").update(done)
    assert capsys.readouterr() == ("", "")


def test_watched_blocks_pass_and_count_when_they_are_used(monkeypatch):
    update = []
    progress = Progress("ranking", 5, "queries")
    monkeypatch.setattr(progress, "update", update.append)
    blocks = [(0, "abc"), (3, "de")]
    passed = []
    for block in progress.watch(blocks):
        assert update == [3] * len(passed)
        passed.append(block)
    assert passed == blocks and update == [3, 5]
