"""Where a training step would wait for a GPU, found on the CPU."""

from collections import Counter

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# A value is read on the host, or the shape of a result follows from values.
WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "equal",
    "repeat_interleave",
}
# What Python sees alone: the CPU needs no operator for it.
READING = {"tolist", "numpy", "cpu", "__array__"}


class _Operators(TorchDispatchMode):
    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in WAITING and not (name == "repeat_interleave" and "Tensor" not in str(func)):
            self.found[name] += 1
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            masks = [one for one in args[1] if one is not None and one.dtype == torch.bool]
            self.found["index by mask"] += bool(masks)
        return func(*args, **(kwargs or {}))


class _Readings(TorchFunctionMode):
    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in READING and getattr(Tensor, name, None) is func:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def synchronizations(function):
    """How often each kind of wait occurs in a call of a function without arguments."""
    found = Counter()
    with _Readings(found), _Operators(found):
        function()
    return +found
