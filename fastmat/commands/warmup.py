"""``fastmat warmup``: compile the kernels into the on-disk cache."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numba import types

import fastmat.cpu
from fastmat.commands.console import Console
from fastmat.core.cache import cache_folder
from fastmat.core.compile import Kernel


def kernels() -> Iterator[tuple[str, Kernel]]:
    """Every kernel of fastmat.cpu, with the stem of its module."""
    for module in pkgutil.iter_modules(fastmat.cpu.__path__):
        members = vars(importlib.import_module(f"fastmat.cpu.{module.name}")).values()
        for kernel in members:
            if isinstance(kernel, Kernel) and kernel.module == f"fastmat.cpu.{module.name}":
                yield module.name, kernel


def run(ops: Sequence[str] | None, dtypes: Sequence[str] | None) -> int:
    """Compile all kernels of these modules for these dtypes."""
    work = [(stem, kernel, dtype) for stem, kernel in kernels() for dtype in kernel.dtypes]
    for option, chosen, known in (
        ("--ops", ops, {stem for stem, _, _ in work}),
        ("--dtypes", dtypes, {str(dtype) for _, _, dtype in work}),
    ):
        unknown = sorted(set(chosen or ()) - known)
        if unknown:
            print(f"fastmat warmup: {option} {unknown[0]}: not one of {', '.join(sorted(known))}")
            return 2
    work = [
        (stem, kernel, dtype)
        for stem, kernel, dtype in work
        if (not ops or stem in ops) and (not dtypes or str(dtype) in dtypes)
    ]

    console = Console()
    console.line(f"{len(work)} kernels into {cache_folder()}")
    begin = time.perf_counter()
    loaded = 0
    with console.progress(len(work)) as advance:
        for stem, kernel, dtype in work:
            advance(f"{stem}.{kernel.__name__} {dtype}")
            loaded += _specialize(kernel, dtype)
        advance("done")
    seconds = time.perf_counter() - begin
    console.line(f"{len(work) - loaded} compiled, {loaded} were there: {seconds:.1f} s")
    return 0
