"""Sets of tracklets: small trees in the layout of the releases."""

import numpy as np
import pytest
from empty_files import touch
from scipy.io import savemat

from mmreid_uda.datasets import MARS, DukeVideo, build_dataset
from mmreid_uda.utils import InputError


def name(pid, camera, tracklet, frame):
    return f"{pid}C{camera}T{tracklet:04d}F{frame:03d}.jpg"


@pytest.fixture
def mars(tmp_path):
    root = tmp_path / "MARS-v160809"
    for pid, camera, tracklet in (("0001", 1, 1), ("0001", 2, 1), ("0003", 1, 1)):
        touch(root / "bbox_train" / pid, *(name(pid, camera, tracklet, f) for f in (1, 2)))
    # Junk, a distractor, and two people; of each tracklet three images.
    tests = [("00-1", 1, 1), ("0000", 1, 1), ("0002", 1, 1), ("0002", 1, 2), ("0002", 3, 1)]
    names = [name(*one, frame) for one in tests for frame in (1, 2, 3)]
    touch(root / "bbox_test", *(f"{one[:4]}/{one}" for one in names))
    (root / "info").mkdir()
    (root / "info" / "test_name.txt").write_text("\n".join(names) + "\n")
    table = [[3 * row + 1, 3 * row + 3, 0, 0] for row in range(len(tests))]
    savemat(root / "info" / "tracks_test_info.mat", {"track_test_info": np.array(table)})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([[3.0]])})
    return root


def test_images_of_mars_know_their_tracklet(mars):
    train = build_dataset("mars", "train", data_root=str(mars.parent))
    assert train.pids.tolist() == [1, 1, 1, 1, 3, 3]
    assert train.evidence.tracklets.tolist() == [0, 0, 2, 2, 1, 1]
    assert train.evidence.cameras.tolist() == [0, 0, 1, 1, 0, 0] and not train.evidence.has_times


def test_queries_of_mars_are_named_by_the_release(mars):
    query, gallery = (MARS(str(mars), split) for split in ("query", "gallery"))
    assert [path[-19:] for path in query.paths] == ["0002C1T0001F002.jpg"]
    assert [path[-19:] for path in gallery.paths] == [
        *("0000C1T0001F002.jpg", "0002C1T0002F002.jpg", "0002C3T0001F002.jpg")
    ]
    assert len(MARS(str(mars), "gallery", test_images_per_tracklet=9)) == 9
    savemat(mars / "info" / "query_IDX.mat", {"query_IDX": np.array([[9]])})
    with pytest.raises(InputError, match=r"query_IDX\.mat .* names rows 9 to 9, expected 1 to 5"):
        MARS(str(mars), "query")
    (mars / "info" / "query_IDX.mat").unlink()
    with pytest.raises(InputError, match=r"query_IDX\.mat' holds no query_IDX .* set test=\[\]"):
        MARS(str(mars), "query")


def test_names_of_another_set_are_told(mars):
    touch(mars / "bbox_train", "0001/0001C9T0001F001.jpg")
    with pytest.raises(
        InputError, match=r"'0001/0001C9T0001F001\.jpg' in .* cameras 1 to 6\); rem"
    ):
        MARS(str(mars))
    with pytest.raises(InputError, match="found no 'train' or 'query' or 'gallery' of duke-video"):
        DukeVideo(str(mars))


def test_frames_of_duke_become_times_on_one_clock(tmp_path):
    root = tmp_path / "DukeMTMC-VideoReID"
    touch(root / "train", "0001/0000/0001_C6_F0099_X30823.jpg", "0001/0001/0001C5F0002X53224.jpg")
    touch(root / "train", "0001/0000/0001_C6_F0101_X30825.jpg")
    train = build_dataset("duke-video", "train", data_root=str(tmp_path), labels="unlabeled")
    assert train.evidence.tracklets.tolist() == [1, 1, 0]
    times = train.evidence.times * 59.94
    assert times.tolist() == pytest.approx([53224, 53226, 53224])
    with pytest.raises(InputError, match=r"found no '.*query' for split 'query' of duke-video"):
        DukeVideo(str(root), "query")
