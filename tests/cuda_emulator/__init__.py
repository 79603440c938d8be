"""Kernels for GPUs, run on the CPU: their own compiled code, with the errors a GPU would hide.

`Emulator` stands in for the driver and `EmulatedArray` for a library's arrays; within `emulated()`
the public functions take such arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cuda_emulator.arrays import EmulatedArray
from cuda_emulator.emulator import Emulator
from cuda_emulator.faults import Fault, UnknownInstruction

__all__ = ["EmulatedArray", "Emulator", "Fault", "UnknownInstruction", "emulated"]


@contextlib.contextmanager
def emulated(
    capability: tuple[int, int] = (8, 0), multiprocessors: int = 4, seed: int = 0
) -> Iterator[Emulator]:
    """An emulator in place of the driver."""
    from cuda_emulator.library import EmulatedLibrary
    from fastmat.cuda import arrays, driver

    arrays.register(EmulatedArray, EmulatedLibrary())
    emulator = Emulator(capability, multiprocessors, seed)
    real, driver.current = driver.current, emulator
    try:
        yield emulator
    finally:
        driver.current = real
