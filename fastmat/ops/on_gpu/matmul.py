"""Products of matrices and vectors on GPUs."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fastmat.cuda.arrays import View, view
from fastmat.ops import products
from fastmat.ops.on_gpu.products import dtype_of, into, matrices, stand_in, with_axis
from fastmat.ops.on_gpu.programmed import programmed


def matmul(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    dtype: Any = None,
    semiring: Any = None,
    mask: Any = None,
    fill: Any = 0,
    epilogue: Any = None,
    epilogue_args: tuple[Any, ...] = (),
) -> Any:
    """`fastmat.matmul` for arrays on a GPU."""
    a, b = view(x1, "x1"), view(x2, "x2")
    if not semiring is mask is epilogue is None:
        return programmed(a, b, out, dtype, semiring, mask, fill, epilogue, epilogue_args)
    wanted = dtype_of(a, b, dtype)
    left, right, removed = matrices(a, b)
    return into(left, right, removed, (a, b), wanted, out)


def matvec(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None) -> Any:
    """`fastmat.matvec` for arrays on a GPU."""
    a, b, wanted = _operands("matvec", x1, 2, x2, 1, dtype)
    _check_lengths(a, -1, b, -1)
    return into(a, with_axis(b, -1), (-1,), (a, b), wanted, out)


def vecmat(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None) -> Any:
    """`fastmat.vecmat` for arrays on a GPU."""
    a, b, wanted = _operands("vecmat", x1, 1, x2, 2, dtype)
    _check_lengths(a, -1, b, -2)
    return into(with_axis(a, -2), b, (-2,), (a, b), wanted, out, _is_complex(a))


def vecdot(x1: Any, x2: Any, /, out: Any = None, *, axis: int = -1, dtype: Any = None) -> Any:
    """`fastmat.vecdot` for arrays on a GPU."""
    a, b, wanted = _operands("vecdot", x1, 1, x2, 1, dtype)
    try:
        last = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis is {axis!r}; it must be an integer") from None
    left, right = _with_last(a, last), _with_last(b, last)
    _check_lengths(left, -1, right, -1)
    return into(
        with_axis(left, -2), with_axis(right, -1), (-2, -1), (left, right), wanted, out,
        _is_complex(a),
    )  # fmt: skip


def _operands(
    operation: str, x1: Any, first_rank: int, x2: Any, second_rank: int, dtype: Any
) -> tuple[View, View, str]:
    a, b = view(x1, "x1"), view(x2, "x2")
    wanted = dtype_of(a, b, dtype)
    if a.ndim < first_rank or b.ndim < second_rank:
        products.check_ranks(operation, stand_in(a), first_rank, stand_in(b), second_rank)
    return a, b, wanted


def _check_lengths(a: View, a_axis: int, b: View, b_axis: int) -> None:
    if a.shape[a_axis] != b.shape[b_axis]:
        products.check_lengths(stand_in(a), a.shape[a_axis], stand_in(b), b.shape[b_axis])


def _with_last(x: View, axis: int) -> View:
    """The view with an axis moved to the end."""
    if axis == -1 or axis == x.ndim - 1:
        return x
    np.moveaxis(stand_in(x), axis, -1)  # raises for one out of range
    order = [i for i in range(x.ndim) if i != axis % x.ndim]
    return x.transposed([*order, axis % x.ndim])


def _is_complex(x: View) -> bool:
    return x.dtype.startswith("complex")
