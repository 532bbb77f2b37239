"""The one place where the worker speaks of torch: what its errors mean, and how memory is given back."""

from __future__ import annotations

import gc
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from worker.device.host import host_memory, reset_resident_peak, resident_now, resident_peak

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class DeviceMemory:
    """What a device has in all, in bytes. `is_host`: it is the machine's own memory, there is no other."""

    total: int
    is_host: bool


class Accelerator(Protocol):
    """What the memory plan, failures and usage need to know of the device."""

    @property
    def kind(self) -> str:
        """`cuda` or `cpu`."""
        ...

    @property
    def device_class(self) -> str:
        """What its arithmetic depends on: two devices of one class compute alike with one build."""
        ...

    def forget_peak(self) -> None:
        """Begin to measure `peak_memory` anew."""
        ...

    def peak_memory(self) -> int | None:
        """The most bytes in use at once since then: torch's on a GPU, else the whole process's.

        None where nobody can say.
        """
        ...

    def memory(self) -> DeviceMemory:
        """How large it is; nothing is allocated to find out."""
        ...

    def memory_in_use(self) -> int | None:
        """Bytes of it in use now, by anybody; of the machine's own, by this process. None: nobody can say."""
        ...

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

    def __init__(self, device: torch.device | None = None) -> None:
        """None: the GPU when there is one."""
        import torch

        kind = device.type if device is not None else "cuda" if torch.cuda.is_available() else "cpu"
        self._device, self._cuda = device, kind == "cuda"
        self._peak_begun = False

    @property
    def kind(self) -> str:
        """By the device that was given, or found."""
        return "cuda" if self._cuda else "cpu"

    @property
    def device_class(self) -> str:
        """The card's name, or the instruction set that torch's kernels were chosen for."""
        import torch

        if self._cuda:
            return f"cuda {torch.cuda.get_device_name(self._device)}"
        return f"cpu {torch.backends.cpu.get_cpu_capability()}"

    def forget_peak(self) -> None:
        """Linux lets a process reset its own high-water mark; where it does not, there is no peak to tell."""
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._peak_begun = reset_resident_peak()

    def peak_memory(self) -> int | None:
        """Bytes that torch has allocated on the card; on a CPU, bytes of this process in memory."""
        if self._cuda:
            import torch

            return int(torch.cuda.max_memory_allocated(self._device))
        return resident_peak() if self._peak_begun else None

    def memory(self) -> DeviceMemory:
        """The card's memory, whoever uses parts of it now; the machine's or the container's without one."""
        if not self._cuda:
            return DeviceMemory(host_memory(), is_host=True)
        import torch

        properties = torch.cuda.get_device_properties(self._device or torch.device("cuda"))
        return DeviceMemory(int(properties.total_memory), is_host=False)

    def memory_in_use(self) -> int | None:
        """A neighbour on the card counts: what it has is not there for this process."""
        if not self._cuda:
            return resident_now()
        import torch

        free, total = torch.cuda.mem_get_info(self._device)
        return int(total - free)

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
