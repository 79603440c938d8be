"""`take_submatrix`, `put_submatrix` and the gradient inside ``@njit``."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import widen
from fastmat.cpu.blocking_transpose import tuning
from fastmat.cpu.submatrix import put, take
from fastmat.cpu.submatrix_vjp import add_up
from fastmat.cpu.views import overlap
from fastmat.ops import submatrix as ops
from fastmat.overloads.groups import floating, ready
from fastmat.overloads.storing import store
from fastmat.overloads.transpose import copy_items
from fastmat.overloads.typing import as_kernel_reads, given
from fastmat.overloads.values import (
    as_read,
    cast_out,
    caster,
    in_axes,
    items_of,
    numbers_in_axes,
)

FEW = 64  # indices up to which each is compared with all others
NEVER = np.iinfo(np.int64).max


class _Selector(NamedTuple):
    """How an argument selects rows or columns; functions of it."""

    is_slice: bool
    is_indexed: bool
    part: Any  # (argument): the slice that is viewed
    indices: Any  # (length, argument): checked, counted from 0; none for a slice
    count: Any  # (length of the view, indices): how many are selected


def _selector(argument, name):
    everything = inlined(lambda argument: slice(None, None))
    none = inlined(lambda length, argument: np.empty(0, np.uint64))
    of_view = inlined(lambda length, indices: length)
    if not given(argument):
        return _Selector(False, False, everything, none, of_view)
    if isinstance(argument, types.SliceType):
        return _Selector(True, False, inlined(lambda argument: argument), none, of_view)
    is_line = isinstance(argument, types.Array) and argument.ndim == 1
    if not is_line or not isinstance(argument.dtype, types.Integer | types.Boolean):
        raise errors.TypingError(
            f"{name} is of type {argument}; it must be a slice, a 1-D array of integers or bool, "
            "or None"
        )
    find = _places if isinstance(argument.dtype, types.Boolean) else _checked
    of_indices = inlined(lambda length, indices: indices.size)
    return _Selector(False, True, everything, find(argument, name), of_indices)


def _places(mask, name):
    """A function (length, mask): where it is True."""
    message = f"{name} is a mask of another length than x has {name}"

    def places(length, mask):
        if mask.size != length:
            raise IndexError(message)
        marks, count = as_kernel_reads(mask), 0
        for i in range(length):
            if widen(marks[i]):
                count += 1
        result = np.empty(count, np.uint64)
        count = 0
        for i in range(length):
            if widen(marks[i]):
                result[count] = i
                count += 1
        return result

    return inlined(places)


def _checked(indices, name):
    """A function (length, indices): the indices, counted from 0.

    It is not `inlined`: numbers in an exception are made Python's by code that is lost there.
    """
    message = (
        f"{name} has an index out of range; its place, the index, and the least and the most "
        "that are allowed:"
    )
    if not indices.dtype.signed:

        def checked_unsigned(length, indices):
            result = np.empty(indices.size, np.uint64)
            for i in range(indices.size):
                index = np.uint64(indices[i])
                if index >= np.uint64(length):
                    raise IndexError(message, i, index, -length, length - 1)
                result[i] = index
            return result

        return njit(checked_unsigned)

    def checked(length, indices):
        result = np.empty(indices.size, np.uint64)
        for i in range(indices.size):
            index = np.int64(indices[i])
            if index < -length or index >= length:
                raise IndexError(message, i, index, -length, length - 1)
            result[i] = index + length if index < 0 else index
        return result

    return njit(checked)


def _check_matrices(x, name):
    if x.ndim < 2:
        raise errors.TypingError(f"{name} has {x.ndim} dimensions; it must have 2 or more")


@overload(ops.take_submatrix)
def _take_submatrix(x, rows, cols, out=None):
    dtype = items_of(x)
    _check_matrices(x, "x")
    by_row, by_col = _selector(rows, "rows"), _selector(cols, "cols")
    part_rows, part_cols = by_row.part, by_col.part
    find_rows, find_cols = by_row.indices, by_col.indices
    count_rows, count_cols = by_row.count, by_col.count
    move = _taker(x.ndim, dtype, by_row.is_indexed or by_col.is_indexed)
    last, item = x.ndim - 2, x.dtype

    @inlined
    def selected(x, rows, cols):
        r, c = find_rows(x.shape[last], rows), find_cols(x.shape[last + 1], cols)
        view = x[..., part_rows(rows), part_cols(cols)]
        m, n = count_rows(view.shape[last], r), count_cols(view.shape[last + 1], c)
        return view, r, c, (*x.shape[:last], m, n)

    if not given(out) and x.layout == "F" and x.ndim == 2:

        def take_in_fortran_order(x, rows, cols, out=None):
            view, r, c, shape = selected(x, rows, cols)
            result = np.empty((shape[1], shape[0]), item).T
            move(view, r, c, result)
            return result

        return take_in_fortran_order

    if not given(out):

        def take_submatrix(x, rows, cols, out=None):
            view, r, c, shape = selected(x, rows, cols)
            result = np.empty(shape, item)
            move(view, r, c, result)
            return result

        return take_submatrix

    exact = cast_out(out, x.ndim, dtype)

    def take_into(x, rows, cols, out=None):
        view, r, c, shape = selected(x, rows, cols)
        if out.shape != shape:
            raise ValueError("out has another shape than the result")
        if exact and (out.size == 0 or not overlap(x, out)):
            move(view, r, c, out)
        else:
            result = np.empty(shape, item)
            move(view, r, c, result)
            store(result, out)
        return out

    return take_into


def _taker(ndim, dtype, indexed):
    """A function (view of x, rows, cols, result)."""
    if not indexed:
        return inlined(lambda x, rows, cols, out: copy_items(x, out))
    in_eight = in_axes(ndim)
    row = tuning(dtype.itemsize)
    parallel, streamed = row.parallel, row.streamed

    def move(x, rows, cols, out):
        if out.size:
            a, b = in_eight(x), in_eight(out)
            call_all(take, b.dtype, (a, rows, cols, b, parallel, streamed))

    return inlined(move)


@overload(ops.put_submatrix)
def _put_submatrix(x, rows, cols, values):
    dtype = items_of(x)
    _check_matrices(x, "x")
    if not x.mutable:
        raise errors.TypingError("x is read-only; it must be writeable")
    by_row, by_col = _selector(rows, "rows"), _selector(cols, "cols")
    part_rows, part_cols = by_row.part, by_col.part
    find_rows, find_cols = by_row.indices, by_col.indices
    count_rows, count_cols = by_row.count, by_col.count
    ndim, cast = caster(values, "values", dtype, x.dtype)
    if ndim > x.ndim:
        raise errors.TypingError(f"values has {ndim} dimensions; x has {x.ndim}")
    check = _fitting(ndim, x.ndim)
    move = _putter(x.ndim, ndim, dtype, by_row.is_indexed or by_col.is_indexed)
    last = x.ndim - 2

    def put_submatrix(x, rows, cols, values):
        r, c = find_rows(x.shape[last], rows), find_cols(x.shape[last + 1], cols)
        view = x[..., part_rows(rows), part_cols(cols)]
        m, n = count_rows(view.shape[last], r), count_cols(view.shape[last + 1], c)
        shape = (*x.shape[:last], m, n)
        found = cast(values)
        check(found, shape)
        if view.size and m and n:
            repeated = _repeats(r, x.shape[last]) or _repeats(c, x.shape[last + 1])
            move(found, r, c, view, shape, repeated)
        return x

    return put_submatrix


def _fitting(ndim, full):
    """A function (values, shape) that checks that they broadcast."""
    first = full - ndim
    if ndim == 0:
        return inlined(lambda values, shape: None)

    def check(values, shape):
        for k in range(ndim):
            if values.shape[k] != 1 and values.shape[k] != shape[first + k]:
                raise ValueError("values has a shape that does not broadcast to what is written")

    return inlined(check)


@inlined
def _repeats(indices, length):
    """Whether an index is there twice."""
    increasing = True
    for i in range(1, indices.size):
        increasing = increasing and indices[i - 1] < indices[i]
    if increasing:
        return False
    if indices.size <= FEW:
        for i in range(indices.size):
            for j in range(i):
                if indices[i] == indices[j]:
                    return True
        return False
    seen = np.zeros(length, np.bool_)
    for i in range(indices.size):
        if seen[indices[i]]:
            return True
        seen[indices[i]] = True
    return False


def _putter(ndim, values_ndim, dtype, indexed):
    """A function (values, rows, cols, view of x, shape of what is written, repeated)."""
    if not indexed:

        def copy(values, rows, cols, x, shape, repeated):
            source = values.copy() if overlap(values, x) else values
            copy_items(np.broadcast_to(source, shape), x)

        return inlined(copy)

    values_in_eight, in_eight = in_axes(values_ndim), in_axes(ndim)
    row = tuning(dtype.itemsize)
    parallel, streamed = row.parallel, row.streamed

    def move(values, rows, cols, x, shape, repeated):
        a, b = values_in_eight(values), in_eight(x)
        if overlap(values, x):
            a = values_in_eight(values.copy())
        # One thread goes from the first to the last, and leaves what it writes last.
        how = (NEVER, NEVER) if repeated else (parallel, streamed)
        call_all(put, b.dtype, (a, rows, cols, b, *how))

    return inlined(move)


@overload(ops.take_submatrix_vjp)
def _take_submatrix_vjp(cotangent, rows, cols, shape, out=None):
    dtype = floating(cotangent, "cotangent", complex_too=True)
    read, g = ready(cotangent, dtype, False), as_read(cotangent, dtype)
    items_of(g, "cotangent")
    _check_matrices(g, "cotangent")
    is_shape = isinstance(shape, types.BaseTuple) and len(shape) == g.ndim
    if not is_shape or any(not isinstance(n, types.Integer) for n in shape):
        raise errors.TypingError(f"shape is of type {shape}; it must be a tuple of the shape of x")
    by_row, by_col = _selector(rows, "rows"), _selector(cols, "cols")
    part_rows, part_cols = by_row.part, by_col.part
    find_rows, find_cols = by_row.indices, by_col.indices
    count_rows, count_cols = by_row.count, by_col.count
    sliced = by_row.is_slice or by_col.is_slice
    move = _adder(by_row.is_indexed, by_col.is_indexed)
    last, item = g.ndim - 2, g.dtype

    @inlined
    def add_into(g, rows, cols, r, c, target):
        view = target[..., part_rows(rows), part_cols(cols)]
        m, n = count_rows(view.shape[last], r), count_cols(view.shape[last + 1], c)
        if g.shape != (*target.shape[:last], m, n):
            raise ValueError("cotangent has another shape than the result")
        if sliced or g.size == 0:
            target[...] = 0
        if g.size:
            move(g, r, c, view)

    if not given(out):

        def take_submatrix_vjp(cotangent, rows, cols, shape, out=None):
            g = read(cotangent)
            r, c = find_rows(shape[last], rows), find_cols(shape[last + 1], cols)
            result = np.empty(shape, item)
            add_into(g, rows, cols, r, c, result)
            return result

        return take_submatrix_vjp

    cast_out(out, g.ndim, dtype)

    def add_and_store(cotangent, rows, cols, shape, out=None):
        g = read(cotangent)
        r, c = find_rows(shape[last], rows), find_cols(shape[last + 1], cols)
        if out.shape != shape:
            raise ValueError("out has another shape than the result")
        result = np.empty(shape, item)
        add_into(g, rows, cols, r, c, result)
        store(result, out)
        return out

    return add_and_store


def _adder(rows_indexed, cols_indexed):
    """A function (cotangent, rows, cols, view of the gradient)."""
    if not rows_indexed and not cols_indexed:
        return inlined(lambda g, rows, cols, view: copy_items(g, view))

    def move(g, rows, cols, view):
        order, starts = _by_row(rows, g.shape[g.ndim - 2], view.shape[view.ndim - 2])
        a, b = numbers_in_axes(g), numbers_in_axes(view)
        call_all(add_up, b.dtype, (a, order, starts, cols, b))

    if rows_indexed:
        return inlined(move)

    def move_rows(g, rows, cols, view):
        move_all = np.arange(g.shape[g.ndim - 2]).view(np.uint64)
        starts = np.arange(g.shape[g.ndim - 2] + 1).view(np.uint64)
        a, b = numbers_in_axes(g), numbers_in_axes(view)
        call_all(add_up, b.dtype, (a, move_all, starts, cols, b))

    return inlined(move_rows)


@inlined
def _by_row(rows, count, length):
    """The places of each row, from the first to the last, and where those of each begin."""
    starts = np.zeros(length + 1, np.intp)
    for i in range(count):
        starts[rows[i] + np.uint64(1)] += 1
    for row in range(length):
        starts[row + 1] += starts[row]
    free, order = starts.copy(), np.empty(count, np.intp)
    for i in range(count):
        row = rows[i]
        order[free[row]] = i
        free[row] += 1
    return order.view(np.uint64), starts.view(np.uint64)
