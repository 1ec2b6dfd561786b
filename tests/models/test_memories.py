"""Memory banks: hand-checked numbers, slow loops, resizing on load."""

import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.models.memories import ClusterMemory, InstanceMemory
from mmreid_uda.models.memories.cluster_memory import hard_update, mean_update, momentum_update
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import InputError

# A hand-checked example of Cluster-Contrast.
MEMORY = F.normalize(torch.tensor([[1, 0.2], [0.3, 1], [-1, 0.5]]), dim=1)
FEATURES = F.normalize(torch.tensor([[0.9, 0.1], [1, 0.8], [0.1, 0.9]]), dim=1)
LABELS = torch.tensor([0, 0, 1])


@pytest.mark.parametrize(
    "rule, first_row",
    [
        (momentum_update, [0.813147, 0.582058]),
        (hard_update, [0.809020, 0.587781]),
        (mean_update, [0.931406, 0.363982]),
    ],
)
def test_update_rules_give_the_published_numbers(rule, first_row):
    before = MEMORY.clone()
    after = rule(MEMORY, FEATURES, LABELS, 0.1)
    expected = torch.tensor([first_row, [0.128312, 0.991734], [-0.894427, 0.447214]])
    torch.testing.assert_close(after, expected, atol=1e-5, rtol=0)
    assert torch.equal(MEMORY, before), "the old memory is needed by the backward pass"


def slow_momentum(memory, features, labels, m):
    memory = memory.clone()
    for x, y in zip(features, labels):
        memory[y] = F.normalize(m * memory[y] + (1 - m) * x, dim=0)
    return memory


def slow_hard(memory, features, labels, m):
    result = memory.clone()
    for y in set(labels.tolist()):
        own = features[labels == y]
        x = min(own, key=lambda row: float(row @ memory[y]))
        result[y] = F.normalize(m * memory[y] + (1 - m) * x, dim=0)
    return result


def slow_mean(memory, features, labels, m):
    result = memory.clone()
    for y in set(labels.tolist()):
        result[y] = F.normalize(m * memory[y] + (1 - m) * features[labels == y].mean(0), dim=0)
    return result


@pytest.mark.parametrize(
    "rule, slow",
    [(momentum_update, slow_momentum), (hard_update, slow_hard), (mean_update, slow_mean)],
)
def test_update_rules_equal_a_slow_loop(rule, slow):
    generator = torch.Generator().manual_seed(0)
    memory = F.normalize(torch.randn(9, 16, generator=generator), dim=1)
    features = F.normalize(torch.randn(40, 16, generator=generator), dim=1)
    labels = torch.randint(0, 7, (40,), generator=generator)  # unequal counts, two classes absent
    torch.testing.assert_close(
        rule(memory, features, labels, 0.3), slow(memory, features, labels, 0.3)
    )


def state(labels, features, seed=0):
    return PseudoLabelState(epoch=2, labels=torch.tensor(labels), features=features, seed=seed)


def test_a_memory_starts_from_the_normalized_means_without_outliers():
    features = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]]), dim=1)
    memory = ClusterMemory()
    memory.reset(state([0, 0, 1, -1], features))
    expected = F.normalize(torch.stack([features[:2].mean(0), features[2]]), dim=1)
    torch.testing.assert_close(memory.prototypes, expected)


def test_a_random_start_takes_one_member_per_cluster_and_depends_on_the_seed_alone():
    features = F.normalize(torch.randn(60, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    labels = [i % 6 - 1 for i in range(60)]
    chosen = []
    for seed in (0, 0, 1):
        memory = ClusterMemory(init="random")
        memory.reset(state(labels, features, seed))
        for cluster, row in enumerate(memory.prototypes):
            members = features[torch.tensor(labels) == cluster]
            assert (members - row).abs().sum(1).min() < 1e-6
        chosen.append(memory.prototypes)
    assert torch.equal(chosen[0], chosen[1])
    assert not torch.equal(chosen[0], chosen[2])


def test_a_memory_takes_the_size_of_the_checkpoint():
    saved, fresh = ClusterMemory(), ClusterMemory()
    saved.reset(state([0, 1, 2], F.normalize(torch.randn(3, 4), dim=1)))
    fresh.load_state_dict(saved.state_dict())
    assert torch.equal(fresh.prototypes, saved.prototypes)


def test_the_instance_memory_moves_single_rows_and_compares_with_their_mean():
    rows = F.normalize(
        torch.tensor([[1.0, 0.1], [0.8, 0.6], [0.9, 0.7], [0.6, 0.9], [0.5, 0.8]]), dim=1
    )
    memory = InstanceMemory(momentum=0.2)
    memory.reset(state([0, 0, 1, 2, 2], rows))
    torch.testing.assert_close(memory.prototypes[2], (rows[3] + rows[4]) / 2)
    queries = F.normalize(torch.tensor([[0.95, 0.5], [0.6, 0.7]]), dim=1)
    logits = queries @ memory.prototypes.t() / 0.05
    expected = torch.tensor([[19.142525, 19.689056, 17.423467], [16.992975, 19.596842, 19.815008]])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    memory.update(queries, torch.tensor([0, 2]), torch.tensor([1, 3]))
    torch.testing.assert_close(
        memory.rows[1], torch.tensor([0.869692, 0.493595]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        memory.rows[3], torch.tensor([0.632309, 0.774717]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("arguments", [dict(update="mena"), dict(init="zero"), dict(momentum=1.0)])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(InputError, match=f"found {next(iter(arguments))}="):
        ClusterMemory(**arguments)
