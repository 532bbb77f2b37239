"""The most bytes of tensors that are alive at once while something runs.

On the meta device this costs neither memory nor arithmetic: shapes are enough. What is counted is storage
that torch's operators hand out, from the moment an operator returns until its last reference is gone: the
activations. Not counted: scratch space inside a kernel (im2col, cuDNN's workspaces) and an allocator's
rounding; a plan needs a reserve for those.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Its fused kernels never hold the score matrix; taken apart it would be counted.
_WHOLE = "scaled_dot_product_attention"


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts each new storage once, and takes it off when the last tensor on it is gone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
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


def tensor_peak(run: Callable[[], object]) -> int:
    """Bytes of the largest set of tensors made inside `run` that were alive together, its result included."""
    with _LiveBytes() as counter:
        result = run()
        del result
    return counter.peak
