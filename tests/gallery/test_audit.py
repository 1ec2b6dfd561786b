"""The audit file: whole lines from all who write, and a bounded size."""

import json
import os
import threading

import pytest

from mmreid_uda.gallery.audit import AuditLog
from mmreid_uda.utils import InputError


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_who_did_what_and_when(tmp_path):
    log = AuditLog(tmp_path / "new" / "audit.jsonl")
    log.write("ann@10.0.0.1", "search", where={"cameras": ["3"]}, ids=None, matches=2)
    [line] = lines(log.path)
    assert line.pop("time").endswith("Z")
    assert line == {
        "who": "ann@10.0.0.1",
        "what": "search",
        "where": {"cameras": ["3"]},
        "matches": 2,
    }
    assert log.path.stat().st_mode & 0o077 == 0
    with pytest.raises(ValueError):
        log.write("ann", "search", since=float("nan"))


def test_a_name_with_a_line_break_makes_no_second_line(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.write("ann\nbob", "search")
    assert [one["who"] for one in lines(log.path)] == ["ann\nbob"]


def test_lines_of_many_threads_are_whole_and_all_there_and_old_files_go(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", max_bytes=2000, keep=50)

    def write(number):
        for turn in range(20):
            log.write(f"client {number}", "search", turn=turn, text="x" * 50)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = sorted(tmp_path.glob("audit*.jsonl"))
    assert len(files) > 5 and all(path.stat().st_size <= 2000 for path in files)
    found = [(one["who"], one["turn"]) for path in files for one in lines(path)]
    assert sorted(found) == sorted((f"client {n}", turn) for n in range(6) for turn in range(20))
    newest = AuditLog(tmp_path / "audit.jsonl", max_bytes=100, keep=1)
    for _ in range(5):
        newest.write("ann", "search", text="x" * 50)
    assert len(lines(newest.path)) == 1 and len(lines(tmp_path / "audit.1.jsonl")) == 1


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.write("ann", "search")
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, content: write(file, content[:9]))
        with pytest.raises(InputError, match="cannot be written"):
            log.write("bob", "delete")
    log.write("ann", "search")
    assert [one["who"] for one in lines(log.path)] == ["ann", "ann"]
