"""The compiler for GPUs (numba-cuda), and why it or the driver may be missing."""

from __future__ import annotations

import importlib.util

import numpy as np

INSTALL = 'pip install "fastmat-kernels[cuda]"'


def missing_compiler() -> str | None:
    """Why kernels for GPUs cannot be compiled; None if they can."""
    for package in ("numba_cuda", "cuda.bindings"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            name = {"numba_cuda": "numba-cuda", "cuda.bindings": "cuda-bindings"}[package]
            return f"{name} is not installed ({INSTALL})"
    return None


def missing_device() -> str | None:
    """Why no GPU can be used; None if one can."""
    from cuda.bindings import driver

    try:
        (status,) = driver.cuInit(0)
    except RuntimeError as error:  # libcuda itself is missing
        return f"no NVIDIA driver ({str(error).splitlines()[0]})"
    if status != driver.CUresult.CUDA_SUCCESS:
        return f"the NVIDIA driver cannot be used ({status.name})"
    status, count = driver.cuDeviceGetCount()
    if status != driver.CUresult.CUDA_SUCCESS or count == 0:
        return "the NVIDIA driver finds no device"
    return None


def require() -> None:
    """Import the compiler, or say why that cannot be."""
    reason = missing_compiler()
    if reason:
        raise RuntimeError(f"arrays on a GPU cannot be used: {reason}")
    # numba-cuda 0.30 asks for a name that NumPy 2.5 no longer has.
    if not hasattr(np, "row_stack"):
        setattr(np, "row_stack", np.vstack)  # noqa: B010
    import numba.cuda  # noqa: F401
