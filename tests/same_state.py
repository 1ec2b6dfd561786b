"""Whether two checkpoints hold the same, bit for bit."""

import torch


def load(path):
    return torch.load(path, map_location="cpu", weights_only=False)


def assert_same_state(first, second, where="checkpoint"):
    """Every tensor of two nested structures is equal, bit for bit."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same_state(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for number, (one, other) in enumerate(zip(first, second)):
            assert_same_state(one, other, f"{where}[{number}]")
    else:
        assert isinstance(first, (int, float, str, type(None))), where
        assert first == second, where


def assert_same_run(one, other, epoch):
    """Two checkpoints are of runs that have come to one point in one way."""
    first, second = load(one), load(other)
    for part in ("state_dict", "optimizer", "param_schedulers", "pseudo_labels"):
        assert_same_state(first[part], second[part], part)
    assert first["meta"]["epoch"] == second["meta"]["epoch"] == epoch
    assert first["meta"]["iter"] == second["meta"]["iter"]
    labels = first["pseudo_labels"]["labels"]
    assert first["state_dict"]["head.memory.centroids"].shape[0] == labels.max() + 1 > 1
    return first
