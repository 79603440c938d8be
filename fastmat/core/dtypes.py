"""The dtypes fastmat computes with."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

DType = np.dtype[Any]

SUPPORTED = (
    "bool",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
)


@functools.cache  # NumPy takes 2 µs to find a dtype's name
def kernel_name(dtype: DType) -> str | None:
    """The name of the dtype whose kernels serve this one; None if it is not supported.

    Sums and products modulo 2**n do not depend on the sign, so unsigned integers share the
    kernels of the signed ones.
    """
    name = dtype.name
    if name not in SUPPORTED:
        return None
    return name.removeprefix("u")


@functools.cache
def dtype_named(name: str) -> DType:
    """NumPy's dtype of a name; that of ml_dtypes for bfloat16."""
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: DType = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)


def unsupported(name: str, dtype: DType) -> TypeError:
    """The error for an array of a dtype that fastmat does not compute with."""
    return TypeError(f"{name} has dtype {dtype}; supported are {', '.join(SUPPORTED)}")


ITEM_SIZES = (1, 2, 4, 8, 16)  # bytes of what kernels move as bits


def movable(dtype: DType) -> bool:
    """Whether kernels can move items of this dtype as bits."""
    return dtype.itemsize in ITEM_SIZES and not dtype.hasobject


def unmovable(name: str, dtype: DType) -> TypeError:
    """The error for an array whose items kernels cannot move."""
    return TypeError(
        f"{name} has dtype {dtype} with items of {dtype.itemsize} bytes; supported are all dtypes "
        f"without Python objects whose items have {', '.join(map(str, ITEM_SIZES))} bytes"
    )
