"""Products of a matrix with its own adjoint, on GPUs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.cuda import gram as kernels
from fastmat.cuda import launch_gram
from fastmat.cuda.arrays import same_device, stream_of, view, writable
from fastmat.cuda.stacks import MOST_ITEMS
from fastmat.ops.on_gpu.matrices import Matrix, copied, new, scratch, times, times_adjoint

BLOCK = 1024  # columns of a product that reaches the diagonal
# Of tall matrices: rows and columns, and how many times more rows than columns.
_TALL_ROWS, _TALL_COLUMNS, _TALL = 512, 256, 4
_FLOATS = ("float32", "float64", "complex64", "complex128")
_BITS = {"float16": "uint16", "bfloat16": "uint16", "bool": "uint8"}  # moved as these


def gram(a: Any, /, out: Any = None) -> Any:
    """As `fastmat.linalg.gram`."""
    x = Matrix.of(a, "a")
    if x.view.ndim < 2:
        raise ValueError(f"a has shape {x.shape}; gram wants 2 or more dimensions")
    n = x.shape[-1]
    shape = (*x.shape[:-2], n, n)
    if out is None:
        return gram_of(x, None).array
    target = Matrix(writable(out, shape, x.view.dtype), out)
    same_device(a=x.view, out=target.view)
    found = gram_of(x, target if target.view.contiguous and _apart(x, target) else None)
    if found is not target:
        for item, place in zip(found.items(), target.items(), strict=True):
            copied(item, x.view.dtype, place)
    return out


def _apart(x: Matrix, y: Matrix) -> bool:
    """Whether the memory of two matrices does not overlap."""
    (a, b), (c, d) = _range(x), _range(y)
    return b <= c or d <= a


def _range(x: Matrix) -> tuple[int, int]:
    where = x.view
    if not where.size:
        return where.pointer, where.pointer
    reach = [(n - 1) * s for n, s in zip(where.shape, where.strides, strict=True)]
    low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
    return (
        where.pointer + low * where.itemsize,
        where.pointer + (high + 1) * where.itemsize,
    )


def gram_of(x: Matrix, result: Matrix | None) -> Matrix:
    """The Gram matrix, to a contiguous result or a new one: products below the diagonal.

    Those of tall matrices are summed in double precision where that is on tensor cores, and
    quicker than products of float32 on the others.
    """
    n = x.shape[-1]
    if result is None:
        result = new((*x.shape[:-2], n, n), x.view.dtype, x)
    if not math.prod(result.shape):
        return result
    if _is_tall(x) and launch_gram.on_tensor_cores(x.view.dtype, x.view.device):
        summed(x, result)
        return result
    left = Matrix(x.view)
    if x.is_complex:
        left = new(x.shape, x.view.dtype, x)
        for item, target in zip(x.items(), left.items(), strict=True):
            copied(item, x.view.dtype, target, conjugated=True)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        part = result.rows(start, stop).columns(0, stop)
        times(left.columns(start, stop).T, x.columns(0, stop), part)
    if x.is_complex or n > BLOCK:
        where, count = result.view, math.prod(x.shape[:-2])
        blocks = -(-n * n // kernels.THREADS)
        kernel = kernels.mirror(_BITS.get(where.dtype, where.dtype))
        for first in range(0, count, MOST_ITEMS):
            pointer = where.pointer + first * n * n * where.itemsize
            grid = blocks, min(count - first, MOST_ITEMS)
            kernel(grid, (pointer, n, n, 1, n * n), stream_of(where), where.device)
    return result


def _is_tall(x: Matrix) -> bool:
    if x.view.ndim != 2:
        return False
    m, n = x.shape
    return m >= max(_TALL_ROWS, _TALL * n) and n <= _TALL_COLUMNS


def summed(x: Matrix, result: Matrix) -> None:
    """The Gram matrix with sums in double precision, to a contiguous result."""
    where, (m, n), stream = x.view, x.shape, stream_of(x.view)
    wide = kernels.WIDE[where.dtype]
    split = launch_gram.pieces_of(m, n)
    sums = scratch((split.pieces, split.tiles, kernels.TILE, kernels.TILE), wide, x).view
    arguments = (where.pointer, m, n, *where.strides, split.rows, sums.pointer)
    for kernel, tiles in launch_gram.launches(where, split):
        kernel((tiles, split.pieces), arguments, stream, where.device)
    kernel = kernels.add_up(wide, result.view.dtype)
    arguments = (sums.pointer, split.pieces, split.tiles, n, result.view.pointer)
    kernel((-(-n // kernels.LANES), n), arguments, stream, where.device)


def power_step(a: Any, q: Any, /, out: Any = None) -> Any:
    """As `fastmat.linalg.power_step`, in two passes over `a`."""
    left, right = floats_of(a, "a"), floats_of(q, "q")
    for name, x in (("a", left), ("q", right)):
        if x.view.ndim != 2:
            raise ValueError(f"{name} has shape {x.shape}; power_step wants 2 dimensions")
    if left.shape[1] != right.shape[0]:
        raise ValueError(
            f"a has shape {left.shape} and q has shape {right.shape}: "
            f"the columns of a, {left.shape[1]}, must be as many as the rows of q, {right.shape[0]}"
        )
    dtype = np.result_type(left.dtype, right.dtype).name
    left, right = (x if x.view.dtype == dtype else copied(x, dtype) for x in (left, right))
    target = None if out is None else Matrix(writable(out, right.shape, dtype), out)
    found = times_adjoint(left, times(left, right))
    if target is None and found.array is not None:
        return found.array
    return copied(found, dtype, target).array


def floats_of(x: Any, name: str) -> Matrix:
    """`x` as a matrix of numbers that factorizations compute with; integers become float64."""
    where = view(x, name)
    if where.dtype in _FLOATS:
        return Matrix(where, x)
    if where.dtype in ("float16", "bfloat16"):
        raise TypeError(
            f"{name} has dtype {where.dtype}; supported are bool, integers, {', '.join(_FLOATS)}"
        )
    if where.ndim != 2:
        return Matrix(where, x)
    return copied(Matrix(where), "float64")
