"""How sparing a loaded model is with the device's memory. Torch-free: the worker decides, the model obeys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thrift:
    """What is rendered stays the same, to rounding; it only takes longer.

    decode_chunk: frames that the autoencoder decodes together, from 1. park_idle: networks that the running
    stage does not use wait in host memory, stage 1's own first of all.
    """

    decode_chunk: int = 1
    park_idle: bool = False

    def __post_init__(self) -> None:
        if self.decode_chunk < 1:
            raise ValueError(f"decode_chunk {self.decode_chunk} is less than 1")
