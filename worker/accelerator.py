"""The one place where the worker speaks of torch: what its errors mean, and how memory is given back."""

from __future__ import annotations

import gc
import traceback
from typing import Protocol


class Accelerator(Protocol):
    """What failures need to know of the device."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the device's memory was too small for the work; the device itself is well."""
        ...

    def is_broken(self, error: BaseException) -> bool:
        """Whether nothing that this process computes from now on can be trusted."""
        ...

    def wait(self) -> None:
        """Return once the device has done all that was asked of it; raises the device's errors."""
        ...

    def free_memory(self, error: BaseException) -> None:
        """Give back what the failed run still holds, which `error`'s traceback keeps alive."""
        ...


class TorchAccelerator:
    """An accelerator by torch. A CUDA context that has reported an error reports errors ever after."""

    def __init__(self) -> None:
        import torch

        self._cuda = torch.cuda.is_available()

    def is_out_of_memory(self, error: BaseException) -> bool:
        """torch's own class, and the texts of the drivers below it (which torch raises as plain errors)."""
        import torch

        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        return isinstance(error, RuntimeError) and any(
            words in str(error)
            for words in ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")
        )

    def is_broken(self, error: BaseException) -> bool:
        """Any CUDA, cuBLAS or cuDNN error that is not about memory."""
        import torch

        if self.is_out_of_memory(error):
            return False
        if isinstance(error, getattr(torch, "AcceleratorError", ())):  # torch 2.8 and later
            return True
        return isinstance(error, RuntimeError) and any(
            words in str(error)
            for words in (
                "CUDA error",
                "HIP error",
                "CUBLAS_STATUS_",
                "CUDNN_STATUS_",
                "cuDNN error",
                "device-side assert",
            )
        )

    def wait(self) -> None:
        """CUDA runs behind Python's back; a CPU is done when the call returns."""
        if self._cuda:
            import torch

            torch.cuda.synchronize()

    def free_memory(self, error: BaseException) -> None:
        """Empty the frames of the traceback, then torch's cache."""
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        if self._cuda:
            import torch

            torch.cuda.empty_cache()
