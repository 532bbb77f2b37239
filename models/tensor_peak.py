"""The most bytes of tensors that are alive at once while something runs, and how much arithmetic it is.

On the meta device this costs neither memory nor arithmetic: shapes are enough. What is counted is storage
that torch's operators hand out, from the moment an operator returns until its last reference is gone: the
activations. Not counted: scratch space inside a kernel (im2col, cuDNN's workspaces) and an allocator's
rounding; a plan needs a reserve for those.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

# Its fused kernels never hold the score matrix; taken apart it would be counted.
_WHOLE = "scaled_dot_product_attention"


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts each new storage once, and takes it off when the last tensor on it is gone; adds up the work."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self.work = 0
        self._live = 0
        self._known: weakref.WeakSet[UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _WHOLE not in str(func):
            with self:  # an operator made of others holds what they hold
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        for tensor in _tensors((args, kwargs)):
            self._known.add(tensor.untyped_storage())  # weights and inputs were there before
        out = func(*args, **kwargs)
        self.work += _work(func, args, kwargs, out)
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            if storage not in self._known:
                self._known.add(storage)
                self._grow(storage.nbytes())
                weakref.finalize(storage, self._grow, -storage.nbytes())
        return out

    def _grow(self, amount: int) -> None:
        self._live += amount
        self.peak = max(self.peak, self._live)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _work(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> int:
    """Floating-point operations of one operator, by torch's own formulas."""
    if func.overloadpacket in flop_registry:
        return int(flop_registry[func.overloadpacket](*args, **kwargs, out_val=out))
    if _WHOLE in str(func):
        query, key, value = args[:3]
        return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]
    return 0


@dataclass(frozen=True)
class Cost:
    """peak: bytes alive together. work: floating-point operations of matrix products and convolutions."""

    peak: int
    work: int


def cost_of(run: Callable[[], object]) -> Cost:
    """What `run` takes: the largest set of tensors made inside it, its result included; and arithmetic."""
    with _LiveBytes() as counter:
        result = run()
        del result
    return Cost(counter.peak, counter.work)


def tensor_peak(run: Callable[[], object]) -> int:
    """The bytes of `cost_of` alone."""
    return cost_of(run).peak
