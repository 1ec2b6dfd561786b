"""Batch-related cells: the worked example, slow recomputations, and what becomes of the state."""

import math

import pytest
import torch
from torch import nn

from mmreid_uda.models.layers import BConvCell, BConvCellV2, latent_cells
from mmreid_uda.utils import InputError


def images(count, channels=3, size=(6, 5), seed=0):
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(seed))


def cell(kind=BConvCell, inputs=3, outputs=2, **options):
    torch.manual_seed(7)
    return kind(inputs, outputs, **options)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def column(*values):
    return torch.tensor(values).view(-1, 1, 1, 1)


def test_the_worked_example():
    one = cell(inputs=1, outputs=1, kernel_size=1, init_std=0.0)
    one.conv.weight.data = column(0.5, 1.0, -0.3, 0.8)
    expected = [
        ((1.0, -2.0), (0.413336, -0.247875), (0.166521, -0.156843)),
        ((0.5, 3.0), (0.470883, 0.568108), (0.203028, 0.148563)),
    ]
    for x, state, y in expected:
        assert one(column(*x)).flatten().tolist() == pytest.approx(y, abs=1e-5)
        assert one.state.flatten().tolist() == pytest.approx(state, abs=1e-5)


def slow_gates(x, weight, stride):
    """The convolution as a sum over its window, number by number: lists [channel][y][x] of one image."""
    outputs, inputs, k, _ = weight.shape
    _, height, width = x.shape
    pad = k // 2

    def at(channel, row, col):
        inside = 0 <= row < height and 0 <= col < width
        return float(x[channel, row, col]) if inside else 0.0

    return [
        [
            [
                sum(
                    float(weight[o, c, i, j])
                    * at(c, row * stride + i - pad, col * stride + j - pad)
                    for c in range(inputs)
                    for i in range(k)
                    for j in range(k)
                )
                for col in range((width - 1) // stride + 1)
            ]
            for row in range((height - 1) // stride + 1)
        ]
        for o in range(outputs)
    ]


def slow_step(gates, previous, channels):
    """State and output from gates [4C][H][W] and the state before, number by number."""
    state, y = torch.zeros_like(previous), torch.zeros_like(previous)
    for c in range(channels):
        for row in range(previous.shape[1]):
            for col in range(previous.shape[2]):
                i, f, o, g = (gates[part * channels + c][row][col] for part in range(4))
                new = sigmoid(f) * float(previous[c, row, col]) + sigmoid(i) * math.tanh(g)
                state[c, row, col] = new
                y[c, row, col] = sigmoid(o) * math.tanh(new)
    return state, y


@pytest.mark.parametrize("stride", [1, 2])
def test_three_batches_equal_a_slow_loop(stride):
    one = cell(stride=stride, init_std=0.0)
    states = [torch.zeros(2, (6 - 1) // stride + 1, (5 - 1) // stride + 1) for _ in range(2)]
    for seed in range(3):
        batch = images(2, seed=seed)
        found = one(batch)
        for slot in range(2):
            gates = slow_gates(batch[slot], one.conv.weight, stride)
            states[slot], y = slow_step(gates, states[slot], 2)
            torch.testing.assert_close(found[slot], y, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(one.state[slot], states[slot], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("history", ["last", "ema"])
@pytest.mark.parametrize("concat", ["channel", "batch"])
@pytest.mark.parametrize("keep_state", [True, False])
def test_version_two_equals_a_slow_loop(history, concat, keep_state):
    one = cell(
        BConvCellV2, history=history, concat=concat, keep_state=keep_state, init_std=0.0, inputs=2
    )
    kept = [torch.zeros(2, 3, 2) for _ in range(2)]
    past = [None, None]
    for seed in range(3):
        batch = images(2, channels=2, size=(3, 2), seed=seed)
        found = one(batch)
        for slot in range(2):
            x = batch[slot]
            memory = x if past[slot] is None else past[slot]
            start = kept[slot] if keep_state else torch.zeros_like(kept[slot])
            if concat == "channel":
                gates = slow_gates(torch.cat([x, memory]), one.conv.weight, 1)
                state, y = slow_step(gates, start, 2)
                kept[slot] = state
            else:
                recovered, _ = slow_step(slow_gates(memory, one.conv.weight, 1), start, 2)
                _, y = slow_step(slow_gates(x, one.conv.weight, 1), recovered, 2)
                kept[slot] = recovered
            past[slot] = x if history == "last" else 0.5 * memory + 0.5 * x
            torch.testing.assert_close(found[slot], y, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(one.history[slot], past[slot], atol=1e-6, rtol=1e-5)
    assert (one.state.numel() > 0) == keep_state


def test_version_two_over_batches_repeats_version_one_while_the_weights_stay():
    first = cell(init_std=0.0)
    second = cell(BConvCellV2, history="last", concat="batch", init_std=0.0)
    second.conv.weight.data = first.conv.weight.data
    (
        first(images(2, seed=0)),
        first(images(2, seed=0)),
    )  # a fresh slot takes its own input for history
    second(images(2, seed=0))
    for seed in range(1, 4):
        torch.testing.assert_close(second(images(2, seed=seed)), first(images(2, seed=seed)))


@pytest.mark.parametrize("kind", [BConvCell, BConvCellV2])
def test_no_gradient_flows_into_earlier_batches(kind):
    one = cell(kind)
    before = images(2, seed=0).requires_grad_()
    one(before)
    one(images(2, seed=1)).sum().backward()
    assert before.grad is None and one.conv.weight.grad.abs().sum() > 0
    assert not any(buffer.requires_grad for buffer in one.buffers())


def test_the_first_state_is_small_noise_that_follows_from_the_seed():
    one = cell()
    with torch.no_grad():
        one.conv.weight.zero_()  # σ(f) = ½ and nothing comes in
    random_state = torch.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        one.reset(seed)
        one(images(64))
        drawn.append(2 * one.state)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert drawn[0].std().item() == pytest.approx(0.001, rel=0.05) and abs(drawn[0].mean()) < 1e-4
    assert torch.equal(torch.get_rng_state(), random_state), "global generators are left alone"


@pytest.mark.parametrize("kind", [BConvCell, BConvCellV2])
def test_batches_of_any_size_follow_each_other(kind):
    """A smaller batch moves the first slots; a larger one keeps what there is and starts the rest."""
    changing, slots = cell(kind, init_std=0.0), [cell(kind, init_std=0.0) for _ in range(5)]
    for seed, size in enumerate((3, 2, 5, 4)):
        batch = images(size, seed=seed)
        found = changing(batch)
        expected = torch.cat([slots[slot](batch[slot : slot + 1]) for slot in range(size)])
        torch.testing.assert_close(found, expected)
    for name, buffer in changing.named_buffers():
        together = torch.cat([dict(slot.named_buffers())[name] for slot in slots])
        torch.testing.assert_close(buffer, together)


def test_maps_of_another_size_start_anew():
    one, fresh = cell(init_std=0.0), cell(init_std=0.0)
    one(images(2))
    torch.testing.assert_close(one(images(2, size=(8, 4))), fresh(images(2, size=(8, 4))))


def test_without_carry_every_batch_is_the_first():
    one, fresh = cell(init_std=0.0), cell(init_std=0.0)
    one.carry = False
    one(images(2, seed=1))
    torch.testing.assert_close(one(images(2)), fresh(images(2)))


@pytest.mark.parametrize("eval_state", ["reset", "frozen"])
@pytest.mark.parametrize("kind", [BConvCell, BConvCellV2])
def test_in_evaluation_an_image_does_not_depend_on_its_batch(kind, eval_state):
    one = cell(kind, eval_state=eval_state)
    one(images(4)), one(images(4, seed=1))
    state = one.state.clone()
    one.eval()
    batch = images(6, seed=2)
    together, backwards = one(batch), one(batch.flip(0)).flip(0)
    alone = torch.cat([one(image[None]) for image in batch])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, backwards)
    assert torch.equal(one.state, state), "evaluation does not write the state"
    one.reset()
    assert torch.allclose(one(batch), together) == (eval_state == "reset")


def test_frozen_is_the_mean_of_the_last_state():
    one, other = cell(eval_state="frozen", init_std=0.0), cell(init_std=0.0)
    one(images(4))
    other.state = one.state.mean(0, keepdim=True)
    torch.testing.assert_close(one.eval()(images(1, seed=3)), other(images(1, seed=3)))
    with pytest.raises(InputError, match=r"remembers maps of \(2, 6, 5\).*gives \(2, 8, 4\)"):
        one(images(1, size=(8, 4)))


@pytest.mark.parametrize("kind", [BConvCell, BConvCellV2])
def test_a_checkpoint_carries_the_state_of_any_size(kind):
    one, other = cell(kind), cell(kind)
    one(images(5))
    other(images(2))
    for holder, into in ((one, other), (cell(kind), one)):  # larger, and none at all
        into.load_state_dict(holder.state_dict())
        for name, buffer in holder.named_buffers():
            assert torch.equal(into.get_buffer(name), buffer)


def test_the_state_stays_in_single_precision_under_autocast():
    one = cell()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = one(images(2))
        assert one(images(2)).dtype == y.dtype == torch.bfloat16
    assert one.state.dtype == torch.float32


def test_cells_are_found_wherever_they_are():
    model = nn.Sequential(cell(), nn.Sequential(nn.ReLU(), cell(BConvCellV2)))
    assert [type(one) for one in latent_cells(model)] == [BConvCell, BConvCellV2]


@pytest.mark.parametrize(
    "kind, options, message",
    [
        (BConvCell, dict(eval_state="zero"), "eval_state='zero'"),
        (BConvCellV2, dict(history="first"), "history='first'"),
        (BConvCellV2, dict(concat="rows"), "concat='rows'"),
        (BConvCellV2, dict(history_momentum=1.5), "history_momentum=1.5"),
    ],
)
def test_unknown_options_are_named(kind, options, message):
    with pytest.raises(InputError, match=message):
        cell(kind, **options)
