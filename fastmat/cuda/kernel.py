"""Kernels for GPUs: compiled when first launched, to PTX that is kept on the disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from numba import cuda, types
from numba.cuda import dispatcher
from numba.cuda.cudadrv import nvvm

from fastmat.core.cache import cache_root, source_hash
from fastmat.cuda import driver

# Letters of the module `struct` for the arguments of a launch.
_FORMATS = {
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}


@functools.cache
def numba_type(argument: str) -> Any:
    """The type of an argument: ``float32*`` is a pointer, ``int32`` a number."""
    if argument.endswith("*"):
        return types.CPointer(getattr(types, argument[:-1]))
    return getattr(types, argument)


class Kernel:
    """A kernel for one dtype and variant.

    Parameters
    ----------
    function
        A Python function that Numba compiles for the GPU.
    arguments
        Its types, as `numba_type` reads them.
    name
        Says which kernel and variant this is; no other has it. None if code of the user is
        compiled into it: then nothing is kept on the disk.
    threads
        Threads of a block, along x.
    blocks
        How many blocks a multiprocessor must be able to hold: limits the registers.
    shared
        Bytes of dynamic shared memory.
    fuse
        Whether a product that is added to something may be rounded with the sum, once. False
        where the bits have to be those of a CPU.
    specific
        Whether its instructions are those of one compute capability only ("sm_90a").
    """

    def __init__(
        self,
        function: Callable[..., None],
        arguments: Sequence[str],
        *,
        name: str | None,
        threads: int,
        blocks: int = 1,
        shared: int = 0,
        fuse: bool = True,
        specific: bool = False,
    ) -> None:
        self.function = function
        self.arguments = tuple(arguments)
        self.name = name
        self.threads = threads
        self.blocks = blocks
        self.shared = shared
        self.fuse = fuse
        self.specific = specific
        self.numba_types = tuple(numba_type(a) for a in arguments)
        self.format = "".join("Q" if a.endswith("*") else _FORMATS[a] for a in arguments)
        self.loaded: dict[int, driver.Loaded] = {}  # by device

    def __repr__(self) -> str:
        return f"<Kernel {self.name or self.function.__name__}({', '.join(self.arguments)})>"

    def __call__(
        self, grid: int | tuple[int, ...], arguments: tuple[Any, ...], stream: int, device: int
    ) -> None:
        """Launch on a stream: pointers are passed as integers."""
        driver.current.launch(self, grid, arguments, stream, device)

    def ptx(self, capability: tuple[int, int] | tuple[int, int, str]) -> str:
        """The assembly for a compute capability, from the disk if it is there."""
        if self.specific:
            capability = (*capability[:2], "a")
        path = None if self.name is None else _kept(self, capability)
        if path is not None and path.exists():
            return path.read_text(encoding="ascii")
        with compiling_for(capability), fusing(self.fuse):
            code, _ = cuda.compile(
                self.function,
                types.void(*self.numba_types),
                device=False,
                abi="numba",
                cc=capability,
                output="ptx",
                launch_bounds=(self.threads, self.blocks),
            )
        if path is not None:
            _keep(path, code)
        return code


class _Device(NamedTuple):
    compute_capability: Sequence[Any]


_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def compiling_for(capability: Sequence[Any]) -> Iterator[None]:
    """Device functions are compiled for this compute capability, not for the current device.

    numba-cuda 0.30 asks the current device when one function calls another, also where the
    caller is compiled for another one, or where there is none.
    """
    with _one_at_a_time:
        ask = dispatcher.get_current_device
        dispatcher.get_current_device = lambda: _Device(capability)
        try:
            yield
        finally:
            dispatcher.get_current_device = ask


@contextlib.contextmanager
def fusing(allowed: bool) -> Iterator[None]:
    """Whether the compiler may make one operation of a product and a sum.

    `cuda.compile` has no argument for it, NVVM has. Products by themselves are rounded
    (``mul.rn``) then, which also keeps the assembler from it.
    """
    with _one_at_a_time:
        compile_ir = nvvm.compile_ir
        nvvm.compile_ir = functools.partial(compile_ir, fma=allowed)
        try:
            yield
        finally:
            nvvm.compile_ir = compile_ir


def entry_name(ptx: str) -> str:
    """The name of the only kernel of an assembly."""
    found = re.search(r"\.visible \.entry (\w+)", ptx)
    assert found is not None
    return found.group(1)


def _kept(kernel: Kernel, capability: Sequence[Any]) -> Path:
    shape = kernel.threads, kernel.blocks, kernel.fuse
    what = (kernel.name, kernel.arguments, *shape, capability, _compiler())
    digest = hashlib.sha256(repr(what).encode()).hexdigest()[:20]
    return cache_root() / f"{source_hash()}-cuda" / f"{kernel.function.__name__}-{digest}.ptx"


@functools.cache
def _compiler() -> tuple[str, ...]:
    return (*map(version, ("numba", "numba-cuda")), str(nvvm.NVVM().get_version()))


def _keep(path: Path, code: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        part.write_text(code, encoding="ascii")
        part.replace(path)
    except OSError:
        pass  # compiled again next time
