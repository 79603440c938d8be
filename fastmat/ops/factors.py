"""What factorizations and solvers share: operands of the dtypes that they compute in, outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.core.dtypes import DType

Shape = tuple[int, ...]

FLOATS = ("float32", "float64", "complex64", "complex128")


def floats_of(x: Any, name: str) -> Array:
    """`x` as an array of one of `FLOATS` that kernels read; integers and bool become float64."""
    array = as_array(x, name)
    if array.dtype.kind in "biu" and array.dtype != object:
        array = array.astype(np.float64)
    if array.dtype.name not in FLOATS:
        raise TypeError(
            f"{name} has dtype {array.dtype}; supported are bool, integers, {', '.join(FLOATS)}"
        )
    return native(array)


def result_for(target: Array | None, shape: Shape, dtype: DType, *inputs: Array) -> Array:
    """The target itself, if a kernel can write to it while it reads the inputs; or a new array."""
    if (
        target is not None
        and target.dtype == dtype
        and target.flags.aligned
        and not any(np.may_share_memory(target, x) for x in inputs)
    ):
        return target
    return np.empty(shape, dtype)


def delivered(result: Array, target: Array | None, out: Any, *inputs: Any) -> Any:
    """The result, in the library of the inputs or in `out`."""
    if target is None:
        return like(result, *inputs)
    if target is not result:
        np.copyto(target, result, casting="same_kind")
    return out


def check_squares(x: Array, name: str, operation: str) -> None:
    """A ValueError unless the last two axes are equally long."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(
            f"{name} has shape {x.shape}; {operation} wants square matrices (..., n, n)"
        )
