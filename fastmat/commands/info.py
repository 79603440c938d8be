"""``fastmat info``: what fastmat runs on, and what it makes of it."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
import scipy

import fastmat
from fastmat.commands.console import Console
from fastmat.core.cache import cache_folder, cache_root
from fastmat.cpu import blocking

# What each threading layer survives: (calls from several threads at once, a fork after a call).
_LAYERS = {
    "tbb": (True, True),
    "omp": (True, sys.platform != "linux"),
    "workqueue": (False, True),
}


def run() -> int:
    """Print everything."""
    console = Console()
    facts = machine()
    width = max(map(len, facts))
    for name, value in facts.items():
        console.line(f"{name:<{width}}  {value}")
    return 0


def machine() -> dict[str, str]:
    """What there is to know, as lines of (name, value)."""
    threads = numba.get_num_threads()  # starts the threads: from here on the layer is known
    layer = numba.threading_layer()
    return {
        "fastmat": f"{fastmat.__version__} ({Path(fastmat.__file__).parent})",
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "numpy": f"{np.__version__} ({blas()})",
        "scipy": scipy.__version__,
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        "cpu": f"{cpu_name()} ({llvm.get_host_cpu_name()})",
        "simd": f"{blocking.ISA}, {8 * blocking.VECTOR_BYTES[blocking.ISA]} bits",
        "threads": f"{threads} of {os.cpu_count()} logical cores",
        "threading layer": f"{layer}: {_safety(layer)}",
        "cache": f"{cache_folder()}",
        "cache size": f"{cache_size() / 1e6:.1f} MB in {cache_root()}, all versions",
        "gpu": gpu(),
    }


def cpu_name() -> str:
    """The name that the CPU gives itself."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor() or "unknown CPU"


def blas() -> str:
    """The BLAS that NumPy multiplies with; if it tells, for which CPU it chose its kernels."""
    if importlib.util.find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_info

        for library in threadpool_info():
            if library["user_api"] == "blas" and "numpy" in library["filepath"]:
                kernels = library.get("architecture", "unknown")
                return f"{library['internal_api']} {library['version']}, {kernels} kernels"
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload,index]
    return f"{found['name']} {found['version']}"


def cache_size() -> int:
    """Bytes in the cache folders of all versions of fastmat."""
    return sum(path.stat().st_size for path in cache_root().rglob("*") if path.is_file())


def gpu() -> str:
    """Whether a GPU can be used, and why not."""
    from fastmat.core.toolkit import missing_compiler, missing_device

    reason = missing_compiler() or missing_device()
    if reason:
        return f"no: {reason}"
    from fastmat.cuda import driver

    major, minor = driver.current.capability(0)
    return f"yes: {driver.current.name(0)}, compute capability {major}.{minor}"


def _safety(layer: str) -> str:
    threads, fork = _LAYERS[layer]
    if not threads:
        return "not thread-safe, so fastmat runs on one thread; safe to fork"
    if not fork:
        return "thread-safe; not safe to fork, so fastmat runs on one thread in a forked child"
    return "thread-safe; safe to fork"
