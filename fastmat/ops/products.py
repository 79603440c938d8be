"""What products of every kind share: operands, their shapes, the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.core.checks import check_out
from fastmat.core.dtypes import DType, kernel_name, unsupported


def operands(
    x1: Any, x2: Any, dtype: Any, names: tuple[str, str] = ("x1", "x2")
) -> tuple[Array, Array, DType]:
    """Both inputs as arrays that kernels of the dtype of the product can read."""
    a, b = as_array(x1, names[0]), as_array(x2, names[1])
    for name, x in zip(names, (a, b), strict=True):
        if kernel_name(x.dtype) is None:
            raise unsupported(name, x.dtype)
    promoted = np.result_type(a.dtype, b.dtype)
    if dtype is not None:
        promoted = np.dtype(dtype)
        check_casts(a, b, promoted)
    if kernel_name(promoted) is None:
        raise unsupported("the product", promoted)
    promoted = promoted.newbyteorder("=")
    converted = (x.astype(promoted, order="K", copy=False) for x in (a, b))
    a, b = (native(x) for x in converted)
    return a, b, promoted


def check_casts(a: Array, b: Array, dtype: DType) -> None:
    """A TypeError that names the operand which is not of the same kind as a dtype."""
    for name, x in (("x1", a), ("x2", b)):
        if not np.can_cast(x.dtype, dtype, "same_kind"):
            raise TypeError(
                f"{name} has dtype {x.dtype}, which cannot be cast to dtype={dtype} "
                "under the rule 'same_kind'"
            )


def check_ranks(operation: str, a: Array, a_rank: int, b: Array, b_rank: int) -> None:
    """A ValueError that names the operand with too few axes."""
    for name, x, rank in (("x1", a, a_rank), ("x2", b, b_rank)):
        if x.ndim < rank:
            raise ValueError(
                f"{name} has shape {x.shape}; {operation} wants {rank} or more dimensions"
            )


def check_lengths(a: Array, a_length: int, b: Array, b_length: int) -> None:
    """A ValueError where the lengths to sum over differ."""
    if a_length != b_length:
        raise ValueError(
            f"x1 has shape {a.shape} and x2 has shape {b.shape}: "
            f"the lengths to sum over, {a_length} and {b_length}, must be equal"
        )


def into(
    compute: Callable[[Array, Array, Array], None],
    a: Array,
    b: Array,
    removed: list[int],
    inputs: tuple[Any, Any],
    dtype: DType,
    out: Any,
) -> Any:
    """Allocate or check the result (without the `removed` axes), compute it, hand it over."""
    full, axes, shape = result_shape(a, b, removed, inputs)
    if out is None:
        result = np.empty(shape, dtype)
        compute(a, b, result.reshape(full))
        return like(result, *inputs)
    target = check_out(out, shape, dtype)
    direct = (
        target.dtype == dtype
        and target.flags.aligned
        and not any(np.may_share_memory(target, x) for x in (a, b))
    )
    result = target if direct else np.empty(shape, dtype)
    compute(a, b, np.expand_dims(result, axes) if axes else result)
    if not direct:
        np.copyto(target, result, casting="same_kind")
    return out


def matrices(a: Array, b: Array) -> tuple[Array, Array, list[int]]:
    """Operands of `matmul` as stacks of matrices, and the axes of their product to remove."""
    if a.ndim == 0 or b.ndim == 0:
        which = "x1" if a.ndim == 0 else "x2"
        raise ValueError(f"{which} is a scalar; matmul wants arrays of one or more dimensions")
    k = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != k:
        raise ValueError(
            f"x1 has shape {a.shape} and x2 has shape {b.shape}: the last dimension of x1, "
            f"{a.shape[-1]}, must equal the {'second last' if b.ndim > 1 else 'only'} "
            f"dimension of x2, {k}"
        )
    left = a[np.newaxis] if a.ndim == 1 else a
    right = b[:, np.newaxis] if b.ndim == 1 else b
    return left, right, [axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1]


def result_shape(
    a: Array, b: Array, removed: list[int], inputs: tuple[Any, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Shape of a product of stacks with all axes, the axes to remove, and the shape without."""
    batch = a.shape[:-2]
    if batch != b.shape[:-2]:
        try:
            batch = np.broadcast_shapes(batch, b.shape[:-2])
        except ValueError:
            shapes = " and ".join(str(np.shape(x)) for x in inputs)
            raise ValueError(f"x1 and x2 have shapes {shapes}, which do not broadcast") from None
    full = (*batch, a.shape[-2], b.shape[-1])
    axes = tuple(axis % len(full) for axis in removed)
    return full, axes, tuple(n for axis, n in enumerate(full) if axis not in axes)
