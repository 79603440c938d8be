"""Checks of arguments that several operations share; each message says which, got, wants."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.dtypes import DType


def check_out(out: Any, shape: tuple[int, ...], dtype: DType, casting: Any = "same_kind") -> Array:
    """`out` as an array of this shape that results of this dtype can be written to."""
    array: Array = out
    if not isinstance(out, np.ndarray):
        if not hasattr(out, "__dlpack__"):
            raise TypeError(f"out is of type {type(out).__name__}; it must be an array")
        array = np.from_dlpack(out)
    if array.shape != shape:
        raise ValueError(f"out has shape {array.shape}; the result has shape {shape}")
    if not np.can_cast(dtype, array.dtype, casting):
        raise TypeError(
            f"out has dtype {array.dtype}; the result has dtype {dtype}, "
            f"which cannot be cast to it under the rule {casting!r}"
        )
    if not array.flags.writeable:
        raise ValueError("out is read-only; it must be writeable")
    return array
