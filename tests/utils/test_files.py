"""Files that are whole or not there, and places that cannot be written."""

import errno
import os

import numpy as np
import pytest
from deployment import no_room_beyond

from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import (
    atomic_path,
    last_epoch,
    read_results,
    require_writable,
    require_writable_folder,
    write_json,
)


@pytest.mark.parametrize(
    "place", ["file/x.npz", "file/deep/x.npz", "folder", "folder/" + 300 * "n"]
)
def test_what_cannot_be_written_is_said_before_and_instead_of_writing(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot be written \(.+\); name another place"):
        require_writable(tmp_path / place)
    with (
        pytest.raises(InputError, match="cannot be written"),
        atomic_path(tmp_path / place) as path,
    ):
        path.touch()
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("place", ["file", "file/deep", "/proc/x", "folder/" + 300 * "n"])
def test_a_folder_that_cannot_be_written_is_said_before_the_work(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written \(.+\); name another place"):
        require_writable_folder(tmp_path / place)
    require_writable_folder(tmp_path / "new" / "deep")
    require_writable_folder(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="it is no regular file"):
        require_writable(pipe)
    with pytest.raises(InputError, match="it is no regular file"), atomic_path(pipe) as path:
        path.touch()
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"] and pipe.is_fifo()


def test_asking_whether_a_file_can_be_written_leaves_nothing(tmp_path):
    require_writable(tmp_path / "new" / "deep" / "x.npz")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_writer_is_its_own(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x") as path:
        path.write_bytes((tmp_path / "source").read_bytes())


def test_a_disk_that_fills_while_writing_is_a_sentence_and_leaves_the_old_file(tmp_path):
    out = tmp_path / "figures.json"
    write_json(out, {"mAP": 1.0})

    def arrays(path):
        with path.open("wb") as file:
            np.savez(file, features=np.zeros(10_000))

    for write in (lambda path: path.write_bytes(bytes(20_000)), arrays):
        with (
            no_room_beyond(5000),
            pytest.raises(InputError, match=r"cannot be written \(.*\); name an"),
            atomic_path(out) as path,
        ):
            write(path)
        assert out.read_text() == '{\n  "mAP": 1.0\n}\n' and len(list(tmp_path.iterdir())) == 1


def test_a_disk_without_room_is_found_before_the_work(tmp_path):
    with no_room_beyond(1000), pytest.raises(InputError, match="cannot be written"):
        require_writable(tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


def test_another_error_while_writing_is_not_the_disk_s(tmp_path):
    with pytest.raises(OSError, match="on the way") as caught, atomic_path(tmp_path / "x"):
        raise OSError(errno.ECONNRESET, "on the way")
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"epochs": 3}',
        '{"epochs": {"x": {"s/mAP": 1}}}',
        '{"epochs": {"1": 3}}',
        '{"epochs": {"1": {"s/mAP": "x"}}}',
        '{"epochs": {"1": {"s/mAP": null}}}',
    ],
)
def test_results_of_another_kind_are_a_sentence(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"results\.json' (is no JSON|holds )"):
        read_results(path)
    path.write_text('{"epochs": {"2": {"s/mAP": 1}, "10": {}}, "last_epoch": 10}')
    assert read_results(path) == {2: {"s/mAP": 1.0}, 10: {}}


@pytest.mark.parametrize(
    "content, last",
    [
        ('{"epochs": {"0": {}, "10": {}}}', 10),  # of older code
        ('{"epochs": {"0": {}, "10": {}}, "last_epoch": 10}', 10),
        ('{"epochs": {}, "last_epoch": 3}', 3),  # without evaluations
        ('{"epochs": {}}', 0),
    ],
)
def test_the_last_epoch_is_the_evaluated_one_if_there_is_any(tmp_path, content, last):
    path = tmp_path / "results.json"
    path.write_text(content)
    assert last_epoch(path) == last
