"""``fastmat warmup``: compile the kernels into the on-disk cache."""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Iterator, Sequence

import fastmat.cpu
from fastmat.commands.console import Console
from fastmat.core.cache import cache_folder
from fastmat.core.compile import KERNEL_DTYPES, Kernel
from fastmat.core.dtypes import SUPPORTED


def run(ops: Sequence[str] | None, dtypes: Sequence[str] | None) -> int:
    """Compile the kernels of these modules for these dtypes; None stands for all."""
    console = Console()
    stems = list(dict.fromkeys(stem for stem, _, _ in specializations(SUPPORTED)))
    for option, chosen, known in (("--ops", ops, stems), ("--dtypes", dtypes, SUPPORTED)):
        unknown = [name for name in chosen or () if name not in known]
        if unknown:
            console.line(f"{option} {unknown[0]}: not one of {', '.join(known)}", "red")
            return 2
    work = [step for step in specializations(dtypes or SUPPORTED) if not ops or step[0] in ops]

    console.line(f"{len(work)} kernels into {cache_folder()}")
    begin = time.perf_counter()
    found = 0
    with console.progress(len(work)) as advance:
        for stem, kernel, dtype in work:
            advance(f"{stem}.{kernel.__name__} {dtype}")
            kernel.load_all(dtype)
            found += kernel.signature(KERNEL_DTYPES[dtype]) in kernel.dispatcher.stats.cache_hits
        advance("")
    seconds = time.perf_counter() - begin
    console.line(f"{len(work) - found} compiled, {found} were there: {seconds:.1f} s")
    return 0


def specializations(dtypes: Sequence[str]) -> Iterator[tuple[str, Kernel, str]]:
    """What is to be compiled for these dtypes: (stem of the module, kernel, name of the dtype)."""
    for module in pkgutil.iter_modules(fastmat.cpu.__path__):
        name = f"fastmat.cpu.{module.name}"
        for kernel in vars(importlib.import_module(name)).values():
            if isinstance(kernel, Kernel) and kernel.__module__ == name:
                for stored in dict.fromkeys(_stored(kernel, dtype) for dtype in dtypes):
                    if stored is not None:
                        yield module.name, kernel, stored


def _stored(kernel: Kernel, dtype: str) -> str | None:
    """What the kernel takes this dtype for: itself, or just bits of its size; None if nothing."""
    if dtype in kernel.dtypes:
        return dtype
    own = dtype.removeprefix("u")
    if own in kernel.dtypes:
        return own
    sizes = {KERNEL_DTYPES[name].bitwidth: name for name in kernel.dtypes}
    return sizes.get(KERNEL_DTYPES[own].bitwidth)
