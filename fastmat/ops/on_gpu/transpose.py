"""Transposed copies on GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastmat.cuda.arrays import View, empty, stream_of, target, view
from fastmat.cuda.copy import copy, may_overlap
from fastmat.ops.transpose import permutation


def transpose(x: Any, axes: Sequence[int] | int | None = None, out: Any = None) -> Any:
    """`fastmat.transpose` for arrays on a GPU."""
    a = view(x, "x")
    ndim = a.ndim
    order = range(ndim - 1, -1, -1) if axes is None else permutation(axes, ndim)
    return _permuted(a, order, out)


def matrix_transpose(x: Any, /, out: Any = None) -> Any:
    """`fastmat.matrix_transpose` for arrays on a GPU."""
    a = view(x, "x")
    n = a.ndim
    if n < 2:
        raise ValueError(f"x has shape {a.shape}; matrix_transpose wants 2 or more dimensions")
    return _permuted(a, (*range(n - 2), n - 1, n - 2), out)


def _permuted(a: View, order: Sequence[int], out: Any) -> Any:
    source = a.transposed(order)
    result, place = target(out, source.shape, a.dtype, a)
    stream = stream_of(a)
    if out is not None and may_overlap(a, place):
        _, scratch = empty(source.shape, a.dtype, a)
        copy(source, scratch, stream)
        source = scratch
    copy(source, place, stream)
    return result
