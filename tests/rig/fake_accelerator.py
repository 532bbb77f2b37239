"""A device that is not there, for tests of the worker around it."""

from worker.device.accelerator import DeviceMemory
from worker.device.plan import GIB


class FakeAccelerator:
    """A device whose errors are known by their text."""

    def __init__(self) -> None:
        self.freed: list[BaseException] = []
        self.forgotten = 0

    kind = "cpu"
    device_class = "cpu FAKE"

    def forget_peak(self) -> None:
        self.forgotten += 1

    def peak_memory(self) -> int | None:
        return 7 * GIB

    def memory(self) -> DeviceMemory:
        return DeviceMemory(16 * GIB, is_host=False)

    def memory_in_use(self) -> int | None:
        return 5 * GIB

    def is_out_of_memory(self, error: BaseException) -> bool:
        return "out of memory" in str(error)

    def is_broken(self, error: BaseException) -> bool:
        return "CUDA error" in str(error)

    def wait(self) -> None:
        """Always done."""

    def free_memory(self, error: BaseException) -> None:
        self.freed.append(error)
