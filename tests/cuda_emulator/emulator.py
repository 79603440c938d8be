"""A device in place of the CUDA driver: launches run on the host, and errors of kernels raise."""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from typing import Any

import numpy as np

from cuda_emulator import arrays, copies, fibers, machine, operations, scheduler, tensor_core
from cuda_emulator.faults import Fault
from cuda_emulator.module import Module

STACK = 128 * 1024
MOST_THREADS = 1024
_SHARED_LIMITS = {(7, 5): 64, (8, 0): 163, (8, 6): 99, (8, 9): 99, (9, 0): 227, (10, 0): 227,
                  (12, 0): 99}  # fmt: skip

_modules: weakref.WeakKeyDictionary[Any, dict[tuple[int, int], Module]] = (
    weakref.WeakKeyDictionary()
)


def compiled(kernel: Any, capability: tuple[int, int]) -> Module:
    """The kernel as code of the host, compiled once."""
    found = _modules.setdefault(kernel, {})
    if capability not in found:
        found[capability] = Module(kernel, capability)
    return found[capability]


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


class _Memory:
    """The stacks and the other memory of fibers: one launch at a time uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        n = MOST_THREADS
        self._stacks = np.empty(STACK * n + 64, np.uint8)
        self.mail = np.zeros((n, machine.MAIL_WORDS), np.int64)
        self.doing = np.zeros(n, np.int64)
        self.seed = np.zeros(1, np.int64)
        self.result = np.zeros(3, np.int64)
        self._others = {
            "pointers": np.zeros(n, np.int64),
            "ready": np.zeros(n, np.int64),
            "warps": np.zeros(n // 32 * fibers.WARP_WORDS, np.int64),
            "copies": np.empty(n * copies.THREAD_WORDS, np.int64),
            "scratch": np.zeros(tensor_core.SCRATCH_WORDS, np.int64),
        }
        self.fibers = fibers.Fibers(
            stacks=-(-_address(self._stacks) // 64) * 64,
            stack_size=STACK,
            mail=_address(self.mail),
            doing=_address(self.doing),
            seed=_address(self.seed),
            result=_address(self.result),
            **{name: _address(array) for name, array in self._others.items()},
        )


_memory = functools.cache(_Memory)


class Emulator:
    """Has the methods of `fastmat.cuda.driver.Driver`."""

    def __init__(
        self, capability: tuple[int, int] = (8, 0), multiprocessors: int = 4, seed: int = 0
    ) -> None:
        self._capability = capability
        self._multiprocessors = multiprocessors
        self._random = np.random.default_rng(seed)
        self._memory = _memory()
        self.launches = 0

    def capability(self, device: int) -> tuple[int, int]:
        return self._capability

    def multiprocessors(self, device: int) -> int:
        return self._multiprocessors

    def shared_limit(self, device: int) -> int:
        return _SHARED_LIMITS[self._capability] * 1024

    def read(self, pointer: int, host: np.ndarray, stream: int, device: int) -> None:
        """Copy to an array of the host."""
        self._check_range(pointer, host.nbytes)
        ctypes.memmove(_address(host), pointer, host.nbytes)

    def write(self, pointer: int, host: np.ndarray, stream: int, device: int) -> None:
        """Copy from an array of the host."""
        self._check_range(pointer, host.nbytes)
        ctypes.memmove(pointer, _address(host), host.nbytes)

    def _check_range(self, pointer: int, size: int) -> None:
        if not any(low <= pointer and pointer + size <= high for low, high, _ in arrays.ranges()):
            raise Fault(f"a copy of {size} bytes at {pointer:#x}, near no array")

    def name(self, device: int) -> str:
        return "emulator"

    def launch(
        self, kernel: Any, grid: int | tuple[int, ...], arguments: tuple[Any, ...], stream: int,
        device: int,
    ) -> None:  # fmt: skip
        """Run all blocks, in random order, one after the other."""
        x, y, z = (grid, 1, 1) if isinstance(grid, int) else (*grid, 1, 1)[:3]
        if not (1 <= x < 2**31 and 1 <= y < 2**16 and 1 <= z < 2**16):
            raise Fault(f"{kernel.name}: a grid of {grid} blocks")
        if not 1 <= kernel.threads <= MOST_THREADS:
            raise Fault(f"{kernel.name}: {kernel.threads} threads per block")
        module = compiled(kernel, self._capability)
        used = module.shared_used(kernel.shared)
        if used > self.shared_limit(device):
            raise Fault(f"{kernel.name}: {used} bytes of shared memory")
        self.launches += 1
        with self._memory.lock:
            self._run(module, kernel, (x, y, z), arguments)

    def _run(
        self, module: Module, kernel: Any, grid: tuple[int, int, int], arguments: tuple[Any, ...]
    ) -> None:
        x, y, z = grid
        state = module.words("emu_state", machine.STATE_WORDS)
        state[machine.THREADS] = kernel.threads
        state[machine.BLOCKS : machine.BLOCKS + 3] = grid
        state[machine.DYNAMIC] = kernel.shared
        ranges = self._ranges(module, kernel)
        state[machine.RANGES] = _address(ranges)
        state[machine.RANGE_COUNT] = len(ranges)
        module.words("emu_sites", 2 * max(1, len(module.sites))).reshape(-1, 2)[:] = -1, 0
        self._put_arguments(module, kernel, arguments)
        code = fibers.Code(
            switch=module.address("emu_switch"),
            start=module.address("emu_start"),
            state=module.address("emu_state"),
            table=_address(module.table),
            shared=module.address("emu_shared"),
            shared_size=module.shared_size,
        )
        blocks = self._random.permutation(x * y * z)
        self._memory.seed[0] = self._random.integers(1, 2**62)
        scheduler.run(self._memory.fibers, code, _address(blocks), len(blocks))
        status, fiber, block = (int(v) for v in self._memory.result)
        if status != fibers.DONE:
            place = f"thread {fiber} of block {(block % x, block // x % y, block // x // y)}"
            what = self._what(module, status, fiber, kernel.threads)
            raise Fault(f"{kernel.name or kernel.function.__name__}, {place}: {what}")

    def _ranges(self, module: Module, kernel: Any) -> np.ndarray:
        shared = module.address("emu_shared")
        stacks = self._memory.fibers.stacks
        rows = [(stacks, stacks + STACK * MOST_THREADS, 1)]
        for variable in module.shared:
            start = shared + variable.offset
            size = kernel.shared if variable.size is None else variable.size
            rows.append((start, start + size, 1))
        rows += [(low, high, 0) for low, high in module.constants]
        return np.array(rows + arrays.ranges(), np.int64).reshape(-1, 3)

    def _put_arguments(self, module: Module, kernel: Any, arguments: tuple[Any, ...]) -> None:
        if len(arguments) != len(kernel.arguments):
            raise TypeError(
                f"{kernel.name}: {len(arguments)} arguments; it has {len(kernel.arguments)}"
            )
        words = module.words("emu_arguments", machine.ARGUMENT_WORDS)
        for i, (kind, value) in enumerate(zip(kernel.arguments, arguments, strict=True)):
            if kind.endswith("*"):
                words[i] = int(value)
                continue
            number = np.array([value], kind)
            if np.dtype(kind).kind in "iu" and int(number[0]) != value:
                raise OverflowError(f"{kernel.name}: argument {i}, {value}, is not a {kind}")
            words[i : i + 1].view(kind)[:1] = number

    def _what(self, module: Module, status: int, fiber: int, n: int) -> str:
        row = self._memory.mail[fiber]
        number = int(row[machine.OPERATION])
        kind = operations.NAMES[module.table[number, 0]]
        if status == fibers.BAD_ACCESS:
            return self._bad_access(module, row, kind)
        if status == fibers.BARRIERS_DIFFER:
            return "divergent barrier: the threads of the block wait at different barriers"
        if status == fibers.NOT_TAKING_PART:
            return f"{kind} wants a lane that does not take part (it has exited or is elsewhere)"
        if status == fibers.NOT_IN_MASK:
            return f"{kind} with a mask that lacks the calling lane"
        if status == fibers.TOO_MANY:
            return f"more than {copies.PENDING} asynchronous copies of a thread are pending"
        if status == fibers.SPINNING:
            return "waits in a loop, for what never comes (blocks run one after the other)"
        doing = self._memory.doing[:n]
        waiting = {
            operations.NAMES[module.table[self._memory.mail[f, machine.OPERATION], 0]]
            for f in np.flatnonzero(doing != fibers.EXITED)
        }
        return (
            f"divergent barrier or deadlock: {np.sum(doing == fibers.EXITED)} of {n} threads "
            f"have exited, {np.sum(doing == fibers.IN_BLOCK)} wait at a barrier and "
            f"{np.sum(doing == fibers.IN_WARP)} in operations of a warp; they wait in "
            f"{', '.join(sorted(waiting))}"
        )

    def _bad_access(self, module: Module, row: np.ndarray, kind: str) -> str:
        site, address, size, mask, written = (int(v) for v in row[machine.SITE :][:5])
        what = kind if site < 0 else module.sites[site]
        if address & mask:
            return f"misaligned {what}: address {address:#x} is not a multiple of {mask + 1}"
        how = "write" if written else "read"
        return (
            f"out of bounds: {what} wants to {how} {size} bytes at {address:#x}"
            f"{self._near(module, address)}"
        )

    def _near(self, module: Module, address: int) -> str:
        shared = module.address("emu_shared")
        if shared <= address < shared + module.shared_size:
            below = [v for v in module.shared if shared + v.offset <= address]
            near = max(below or module.shared, key=lambda v: v.offset)
            return (
                f", {address - shared - near.offset} bytes from the start of {near.name} in "
                f"shared memory, which has {'dynamic size' if near.size is None else near.size}"
            )
        for allocation in arrays.Allocation.live:
            off = address - allocation.address
            if -arrays.REDZONE <= off < allocation.size + arrays.REDZONE:
                kind = "an array" if allocation.writable else "a read-only array"
                return f", {off} bytes from the start of {kind} of {allocation.size} bytes"
        return ", near no array"
