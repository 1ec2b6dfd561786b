"""Batch-related convolutional cells: convolutions that remember the mini-batches before (PTL).

Source: Yu et al., "Progressive transfer learning for person re-identification", IJCAI 2019. A network that is
fine-tuned sees a few images at a time; the cell carries what it saw in earlier batches in a latent state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.values import Fraction

from .resizing import ResizingBuffers

__all__ = ["BConvCell", "BConvCellV2", "latent_cells"]


@MODELS.register_module()
class BConvCell(ResizingBuffers):
    """An LSTM-like convolution over the mini-batches b = 1, 2, ... (PTL, version 1, as released).

    One convolution W without bias gives the four gates of every location; its output channels are, in this order,
    (input i, forget f, output o, cell g)::

        C_b = σ(f) ⊙ sg(C_{b-1}) + σ(i) ⊙ tanh(g)        y_b = σ(o) ⊙ tanh(C_b)        C_0 ~ N(0, init_std²)

    sg stops the gradient: nothing is backpropagated through batches. There is no recurrence on y, no peephole and,
    other than in the paper's formulas, no bias. Slot j of the state belongs to *place j of the batch*, not to an image
    or an identity.

    **The state** is a buffer: checkpoints carry it, whatever its size. :meth:`reset` empties it (``LatentStateHook``
    does so before every epoch), and the first batch draws C_0. A smaller batch moves the first slots and leaves the
    others; a larger one starts the further slots anew; another map size starts all of them anew. (In the released code
    a batch larger than the one before it crashes.) Of several ranks each keeps the state of its own images.

    **In evaluation** the state is not written, and features must not depend on which images share a batch:
    ``eval_state='reset'`` starts every image from zero, the mean of C_0; ``'frozen'`` from the mean over the slots of
    the last training batch.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output and of the state.
        kernel_size: Odd size of the kernel; the padding is half of it. Defaults to 3.
        stride: Defaults to 1.
        eval_state: ``'reset'`` or ``'frozen'``. Defaults to ``'reset'``.
        init_std: Standard deviation of C_0, >= 0. Defaults to 0.001.

    Attributes:
        carry: Whether the state goes from batch to batch; False draws C_0 in each. ``LatentStateHook`` sets it.

    Raises:
        InputError: For an unknown ``eval_state``; in evaluation with ``'frozen'``, for maps of another size than in
            training.
    """

    state: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        eval_state: Literal["reset", "frozen"] = "reset",
        init_std: float = 0.001,
    ) -> None:
        super().__init__()
        self.eval_state, self.init_std = eval_state, init_std
        self.carry = True
        self.out_channels = out_channels
        self.conv = nn.Conv2d(
            in_channels, 4 * out_channels, kernel_size, stride, kernel_size // 2, bias=False
        )
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in")
        self.register_buffer("state", torch.empty(0))
        self._seed, self._draws = 0, 0

    def reset(self, seed: int = 0) -> None:
        """Forget everything.

        Args:
            seed: Fresh slots are drawn from it on, 0 <= seed < 2**63.
        """
        for name, buffer in self._buffers.items():
            self._buffers[name] = torch.empty(0, dtype=torch.float32, device=buffer.device)  # type: ignore[union-attr]
        self._seed, self._draws = seed, 0

    def forward(self, x: Tensor) -> Tensor:
        """Map the input to the output of the cell, and remember its state.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            y (B, out_channels, H', W'), within ±1, with H' = floor((H - 1) / stride) + 1; of the type that the
            convolution gives.
        """
        gates = self.conv(x)
        previous = self._recall("state", gates[:, : self.out_channels], self._noise)
        state = _advance(previous, gates)
        self._remember(state=state)
        return _output(state, gates)

    # ---- what is remembered

    def _noise(self, like: Tensor) -> Tensor:
        """C_0 of fresh slots in the shape of ``like``, float32; in evaluation its mean, zero."""
        fresh = torch.zeros(like.shape, device=like.device)
        if not self.training or not self.init_std:
            return fresh
        # A generator of its own for each draw: a pass repeats after a resume, and no global generator moves.
        seed = int(make_rng(self._seed, self._draws, "latent state").integers(2**63))
        self._draws += 1
        return fresh.normal_(
            std=self.init_std, generator=torch.Generator(like.device).manual_seed(seed)
        )

    def _recall(self, name: str, like: Tensor, fresh: Any) -> Tensor:
        """What a buffer says about the B images of this batch, detached, float32.

        Args:
            name: Name of the buffer.
            like: (B, C, H, W), a tensor of the wanted shape.
            fresh: Function that makes the slots that nothing is remembered of, in the shape of its argument.
        """
        kept = self._buffers[name]
        assert kept is not None
        if not self.training:
            if self.eval_state == "reset" or not kept.numel():
                return fresh(like)
            self._check_map(kept, like)
            return kept.mean(0, keepdim=True).expand_as(like)
        if not self.carry or kept.shape[1:] != like.shape[1:]:
            return fresh(like)
        if len(kept) >= len(like):
            return kept[: len(like)]
        return torch.cat([kept, fresh(like[len(kept) :])])

    def _remember(self, **buffers: Tensor) -> None:
        """Write this batch's slots. The buffer is replaced: the loss of this iteration keeps the old one."""
        if not self.training:
            return
        for name, new in buffers.items():
            new, kept = new.detach().float(), self._buffers[name]
            assert kept is not None
            same_map = kept.shape[1:] == new.shape[1:]
            others = kept[len(new) :] if same_map else new[:0]
            self._buffers[name] = torch.cat([new, others]) if len(others) else new

    def _check_map(self, kept: Tensor, like: Tensor) -> None:
        if kept.shape[1:] != like.shape[1:]:
            raise InputError(
                f"{type(self).__name__} with eval_state='frozen' remembers maps of "
                f"{tuple(kept.shape[1:])} from training, but a test image gives {tuple(like.shape[1:])}: test at the "
                "training size (input_size), or set eval_state='reset'."
            )


@MODELS.register_module()
class BConvCellV2(BConvCell):
    """A cell that also remembers the *input features* of earlier batches and joins them to the present ones (PTL-v2).

    What the authors published on this version says that historical inputs are recovered and concatenated with the
    present input, no formula. Everything here is this project's reading, and a switch where it could be another.
    With x (B, C_in, H, W) the input and M the history, detached::

        concat='channel':  gates = W [x ; M], W: 2·C_in -> 4·C_out, then version 1
        concat='batch':    gates, gates' = W x, W M in one convolution over 2B rows
                           C' = σ(f') ⊙ sg(S) + σ(i') ⊙ tanh(g')          the state that M leaves behind, recovered
                           C = σ(f) ⊙ C' + σ(i) ⊙ tanh(g),   S <- C'      and what x makes of it
        afterwards         M <- x   or   M <- μ M + (1 - μ) x

    (Keeping only the first B rows of a convolution over 2B would leave the history without any effect: a convolution
    treats rows separately. With ``concat='batch'`` the last step of version 1 is repeated with the present weights.)
    A slot without a history takes its own input for it, in training as in evaluation.

    Args:
        in_channels: Channels of x.
        *args: As for :class:`BConvCell`.
        history: ``'last'`` = M is the previous batch, ``'ema'`` = a moving average. Defaults to ``'ema'``.
        history_momentum: μ in 0..1 of the average. Defaults to 0.5.
        concat: ``'channel'`` or ``'batch'``. Defaults to ``'channel'``.
        keep_state: Whether C (or S) is carried as well; False starts it from zero in every batch, and the history is
            the only memory. Defaults to True.
        **kwargs: As for :class:`BConvCell`.

    Raises:
        InputError: For an unknown ``history`` or ``concat``, or a momentum outside 0..1.
    """

    history: Tensor

    def __init__(
        self,
        in_channels: int,
        *args: Any,
        history: Literal["last", "ema"] = "ema",
        history_momentum: Fraction = 0.5,
        concat: Literal["channel", "batch"] = "channel",
        keep_state: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(2 * in_channels if concat == "channel" else in_channels, *args, **kwargs)
        self.concat, self.keep_state = concat, keep_state
        self.momentum = history_momentum if history == "ema" else 0.0
        self.register_buffer("history", torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        """Map the input to the output of the cell, and remember both state and input.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            y (B, out_channels, H', W'), within ±1, with H' = floor((H - 1) / stride) + 1; of the type that the
            convolution gives.
        """
        # Fresh slots: the input itself.
        past = self._recall("history", x, lambda like: x[len(x) - len(like) :].detach().float())
        if self.concat == "channel":
            gates = self.conv(torch.cat([x, past.to(x.dtype)], dim=1))
            kept = previous = self._previous(gates)
        else:
            gates, past_gates = self.conv(torch.cat([x, past.to(x.dtype)])).chunk(2)
            kept = previous = _advance(self._previous(past_gates), past_gates)
        state = _advance(previous, gates)
        if self.keep_state:
            kept = state if self.concat == "channel" else kept
            self._remember(state=kept)
        self._remember(history=self.momentum * past + (1 - self.momentum) * x.detach().float())
        return _output(state, gates)

    def _previous(self, gates: Tensor) -> Tensor:
        like = gates[:, : self.out_channels]
        if self.keep_state:
            return self._recall("state", like, self._noise)
        return torch.zeros(like.shape, device=like.device)


def _advance(previous: Tensor, gates: Tensor) -> Tensor:
    """``σ(f) ⊙ C + σ(i) ⊙ tanh(g)`` in float32 from the gates (B, 4C, H, W) in the order (i, f, o, g)."""
    i, f, _, g = gates.float().chunk(4, dim=1)
    return f.sigmoid() * previous + i.sigmoid() * g.tanh()


def _output(state: Tensor, gates: Tensor) -> Tensor:
    """``σ(o) ⊙ tanh(C)`` in the precision of the gates (B, 4C, H, W)."""
    return (gates.chunk(4, dim=1)[2].float().sigmoid() * state.tanh()).to(gates.dtype)


def latent_cells(model: nn.Module) -> Iterator[BConvCell]:
    """All cells of a model, in the order of its modules.

    Args:
        model: Any tree of modules.

    Returns:
        Cells, possibly none.
    """
    return (module for module in model.modules() if isinstance(module, BConvCell))
