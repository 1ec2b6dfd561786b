"""Features in a file: the rows of all ranks at their places, labels as of those in memory, and who cannot see it."""

import errno
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mmreid_uda.clustering import EvidenceClustering, JaccardDBSCAN
from mmreid_uda.engine import extract_features
from mmreid_uda.utils import InputError, without_kernels
from mmreid_uda.utils import feature_file as module
from mmreid_uda.utils.dist import own_turns, run_on_rank0
from mmreid_uda.utils.feature_file import FeatureFile, feature_files, place_of_features

NUM, DIM, BATCH = 90, 8, 8


class Rows(torch.utils.data.Dataset):
    """A network's answer is the row itself."""

    def __init__(self):
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((9, DIM))[np.arange(NUM) % 9] + rng.normal(0, 0.2, (NUM, DIM))
        self.rows = nn.functional.normalize(torch.from_numpy(rows).float(), dim=1)
        self.paths = [f"{number}.png" for number in range(NUM)]

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        return self.rows[index]


class Identity(nn.Linear):
    """An algorithm that tests what it is given."""

    def data_preprocessor(self, batch, training):
        return dict(inputs=batch, data_samples=None)

    def forward(self, inputs, data_samples, mode):
        return inputs


def extract(folder, where):
    place = place_of_features(folder, where, torch.device("cpu"))
    return extract_features(Identity(1, 1), Rows(), BATCH, 0, place=place)


@without_kernels()
def cluster(features):
    clustering = EvidenceClustering(JaccardDBSCAN(k1=6, k2=2))
    nodes = clustering.prepare(features, over_ranks=True)
    return run_on_rank0(lambda: clustering(nodes, seed=0, epoch=0)).tolist()


def on_disk(rank, folder):
    with feature_files(folder):
        features = extract(folder, "disk")
        assert (folder / "features" / "clustering-0.npy").exists()
        found = features.numpy().copy(), cluster(features)
        # Whoever changes features does it for himself.
        features[rank] = 7
        again = extract(folder, "disk")
        assert np.array_equal(again, found[0])
    return found


@pytest.fixture(autouse=True)
def collate(monkeypatch):
    monkeypatch.setattr("mmreid_uda.engine.extraction.reid_collate", torch.stack)


def on_disk_of_rank(rank, folder):
    import mmreid_uda.engine.extraction as extraction

    extraction.reid_collate = torch.stack
    return on_disk(rank, folder)


def test_rows_and_labels_are_those_of_memory_on_one_rank_and_two(run_ranks, tmp_path):
    features = extract(tmp_path, "memory")
    labels = cluster(features)
    assert torch.equal(features, Rows().rows) and len(set(labels)) > 5
    for found in (on_disk(0, tmp_path), *run_ranks(on_disk_of_rank, args=(tmp_path,))):
        assert np.array_equal(found[0], features)
        assert found[1] == labels
    assert not (tmp_path / "features").exists()


def wrong_on_a_rank(rank, folder):
    return [sentence(rank, folder, kind) for kind in ("nan", "elsewhere", "stale", "shape")]


def sentence(rank, folder, kind):
    rows = Rows().rows.clone()
    if kind == "nan":
        rows[12, 3] = rows[27, 0] = torch.nan  # in two batches of one rank: the first is told
    path = folder / f"{kind}.npy"
    if rank and kind != "nan":  # another disk
        path = folder / f"{kind}_of_another.npy"
        if kind != "elsewhere":
            np.save(path, np.zeros((NUM, DIM + (kind == "shape")), np.float32))
    try:
        file = FeatureFile(path, (NUM, DIM))
        for turn in own_turns(torch.arange(NUM).split(BATCH)):
            names = [f"{index}.png" for index in turn.tolist()]
            file.write(int(turn[0]), rows[turn], names)
        file.mapped()
    except InputError as error:
        return str(error)
    return ""


def test_what_is_wrong_on_one_rank_is_told_on_all(run_ranks, tmp_path):
    for nan, elsewhere, stale, shape in run_ranks(wrong_on_a_rank, args=(tmp_path,)):
        assert "1 row with NaN" in nan and "'12.png'" in nan
        assert "rank 1 cannot open" in elsewhere and "features='memory'" in elsewhere
        assert "does not see the features of rank" in stale and "one file system" in stale
        assert "rank 1 cannot open" in shape and "it is of shape (90, 9)" in shape


def test_auto_takes_the_disk_beyond_a_quarter_of_the_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "machine_memory", lambda: 4000)
    cpu = torch.device("cpu")
    name = "clustering-0.npy"
    for ranks, size, expected in ((1, 1000, None), (1, 1001, name), (2, 501, name)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
        found = place_of_features(tmp_path, "auto", cpu)(size)
        assert (found and found.name) == expected
        assert place_of_features(tmp_path, "memory", cpu)(size) is None


@pytest.mark.parametrize("linked", [False, True])
def test_what_a_killed_run_has_left_makes_room_and_files_of_others_stay(tmp_path, linked):
    folder = tmp_path / "features"
    if linked:  # to a faster disk
        (tmp_path / "fast").mkdir()
        folder.symlink_to(tmp_path / "fast")
    folder.mkdir(exist_ok=True)
    # The one that stands for a second file would be overwritten.
    for name in ("clustering-1.npy", "0.npy", "gallery.npz"):
        (folder / name).touch()
    place = place_of_features(tmp_path, "disk", torch.device("cpu"))
    with feature_files(tmp_path):
        assert sorted(path.name for path in folder.iterdir()) == ["0.npy", "gallery.npz"]
        for number in range(2):
            assert place(1).name == f"clustering-{number}.npy"
            place(1).touch()
    assert sorted(path.name for path in folder.iterdir()) == ["0.npy", "gallery.npz"]


def test_rows_that_the_system_takes_a_part_at_a_time_are_whole(tmp_path):
    file = FeatureFile(tmp_path / "0.npy", (NUM, DIM))
    raw = file._file
    file._file = SimpleNamespace(
        seek=raw.seek, write=lambda rows: raw.write(rows[:99]), close=raw.close
    )
    file.write(0, Rows().rows)
    assert torch.equal(file.mapped(), Rows().rows)


def test_no_room_is_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"0\.npy' cannot be written"):
        FeatureFile(tmp_path / "file" / "0.npy", (NUM, DIM))

    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(InputError, match="make room or name another place"):
        FeatureFile(tmp_path / "0.npy", (NUM, DIM))
    assert not (tmp_path / "0.npy").exists()
