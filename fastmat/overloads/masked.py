"""`masked_fill`, `mask_rows_cols` and their gradients inside ``@njit``."""

import numpy as np
from numba import types
from numba.core import errors
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking_transpose import tuning
from fastmat.cpu.masked import fill as fill_kernel
from fastmat.cpu.strides import AXES, address, bits
from fastmat.cpu.sum_where import sum_where
from fastmat.cpu.views import overlap
from fastmat.ops import masked as ops
from fastmat.ops.masked import FillGradients
from fastmat.overloads.groups import floating, ready
from fastmat.overloads.storing import store
from fastmat.overloads.typing import as_kernel_reads, given
from fastmat.overloads.values import (
    apart,
    as_read,
    cast_out,
    caster,
    check_mask,
    in_axes,
    items_of,
    new_like,
    numbers_in_axes,
)

_ONES = (1,) * AXES
_ZEROS = (0,) * AXES


@overload(ops.masked_fill)
def _masked_fill(x, mask, value, out=None):
    dtype = items_of(x)
    check_mask(mask, "mask")
    value_ndim, cast = caster(value, "value", dtype, x.dtype)
    ndim = max(x.ndim, mask.ndim, value_ndim)
    first = AXES - ndim
    join_x, join_mask, join_value = _joiner(x.ndim), _joiner(mask.ndim), _joiner(value_ndim)
    read_mask, read_value = apart(mask.ndim), apart(value_ndim)
    row = tuning(dtype.itemsize)
    parallel, streamed = row.parallel, row.streamed

    @inlined
    def run(x, arguments, out, target):
        mask, value = arguments
        masks = read_mask(mask, out), _one_mask(0)
        inputs = x, *masks, read_value(value, out)
        call_all(fill_kernel, x.dtype, (*inputs, target, True, parallel, streamed))

    write = _writer(x, ndim, dtype, out, run)

    def masked_fill(x, mask, value, out=None):
        values = cast(value)
        shape = join_value(join_mask(join_x(_ONES, x.shape), mask.shape), values.shape)
        return write(x, (mask, values), shape[first:], out)

    return masked_fill


@inlined
def _one_mask(item):
    """A mask that is the same for all."""
    return bits(np.full(1, item, np.int8), _ONES, _ZEROS)


def _joiner(ndim):
    """A function (shape, lengths): the shape that both broadcast to."""
    if ndim == 0:
        return inlined(lambda shape, lengths: shape)
    first = AXES - ndim

    def join(shape, lengths):
        for k in range(ndim):
            if lengths[k] != 1:
                if shape[first + k] != 1 and shape[first + k] != lengths[k]:
                    raise ValueError("x, mask and value have shapes that do not broadcast")
                shape = tuple_setitem(shape, first + k, lengths[k])
        return shape

    return inlined(join)


def _writer(x, ndim, dtype, out, run):
    """A function (x, arguments, shape, out): it calls ``run(view of x, arguments, out, view)``.

    What is run reads all but x so that it may overlap the output.
    """
    view_x, read_x, view = in_axes(x.ndim), apart(x.ndim), in_axes(ndim)
    new = new_like(x, ndim)

    @inlined
    def write_new(x, arguments, shape, out):
        result = new(shape)
        run(view_x(x), arguments, result, view(result))
        return result

    if not given(out):
        return write_new
    if not cast_out(out, ndim, dtype):

        def write_cast(x, arguments, shape, out):
            if out.shape != shape:
                raise ValueError("out has another shape than the result")
            store(write_new(x, arguments, shape, None), out)
            return out

        return inlined(write_cast)

    def write(x, arguments, shape, out):
        if out.shape != shape:
            raise ValueError("out has another shape than the result")
        target = view(out)
        source = view_x(x)
        if not _is_same(source, target):
            source = read_x(x, out)
        run(source, arguments, out, target)
        return out

    return inlined(write)


@inlined
def _is_same(x, out):
    """Whether two arrays have each item in the same place."""
    return address(x) == address(out) and x.strides == out.strides and x.shape == out.shape


@overload(ops.mask_rows_cols)
def _mask_rows_cols(x, row_mask, col_mask, fill=0, out=None):
    run = _lines_kept(x, "x", items_of(x), row_mask, col_mask, fill, out)
    return lambda x, row_mask, col_mask, fill=0, out=None: run(x, row_mask, col_mask, fill, out)


@overload(ops.mask_rows_cols_vjp)
def _mask_rows_cols_vjp(cotangent, row_mask, col_mask, out=None):
    dtype = floating(cotangent, "cotangent", complex_too=True)
    read = ready(cotangent, dtype, False)
    g = as_read(cotangent, dtype)
    run = _lines_kept(g, "cotangent", dtype, row_mask, col_mask, types.intp, out)
    return lambda cotangent, row_mask, col_mask, out=None: run(
        read(cotangent), row_mask, col_mask, 0, out
    )


def _lines_kept(x, name, dtype, row_mask, col_mask, fill, out):
    """A function (x, row_mask, col_mask, fill, out): `mask_rows_cols` of an argument."""
    if x.ndim < 2:
        raise errors.TypingError(f"{name} has {x.ndim} dimensions; it must have 2 or more")
    if isinstance(fill, types.Array):
        raise errors.TypingError(f"fill is of type {fill}; it must be a number")
    is_default = getattr(fill, "value", fill) == 0
    kind = types.boolean if is_default and dtype == np.bool_ else fill
    _, cast = caster(kind, "fill", dtype, x.dtype)
    read_rows = _line_reader(row_mask, "row_mask", x.ndim, 0)
    read_cols = _line_reader(col_mask, "col_mask", x.ndim, 1)
    value_view = in_axes(0)
    row = tuning(dtype.itemsize)
    parallel, streamed = row.parallel, row.streamed

    @inlined
    def run(x, arguments, out, target):
        row_mask, col_mask, shape, value = arguments
        masks = read_rows(row_mask, shape, out), read_cols(col_mask, shape, out)
        call_all(
            fill_kernel,
            x.dtype,
            (x, *masks, value_view(value), target, False, parallel, streamed),
        )

    write = _writer(x, x.ndim, dtype, out, run)
    check_rows = _line_check(row_mask, "row_mask", x.ndim, 2)
    check_cols = _line_check(col_mask, "col_mask", x.ndim, 1)

    def mask_lines(x, row_mask, col_mask, fill, out):
        check_rows(row_mask, x.shape)
        check_cols(col_mask, x.shape)
        return write(x, (row_mask, col_mask, x.shape, cast(fill)), x.shape, out)

    return inlined(mask_lines)


def _line_reader(mask, name, ndim, axis):
    """A function (mask, shape, out): the view of a mask of rows (0) or columns (1)."""
    if not given(mask):
        return inlined(lambda mask, shape, out: _one_mask(1))
    check_mask(mask, name)
    if not 1 <= mask.ndim < ndim:
        raise errors.TypingError(f"{name} has {mask.ndim} dimensions; x has {ndim}")
    lead, last = mask.ndim - 1, AXES - mask.ndim - 1
    ones, zeros = (1,) * last, (0,) * last

    if axis == 0:

        @inlined
        def view(mask):
            shape, strides = (*ones, *mask.shape, 1), (*zeros, *mask.strides, 0)
            return bits(mask, shape, strides)

    else:

        @inlined
        def view(mask):
            shape = (*ones, *mask.shape[:lead], 1, mask.shape[lead])
            return bits(mask, shape, (*zeros, *mask.strides[:lead], 0, mask.strides[lead]))

    def read(mask, shape, out):
        found = view(mask)
        if mask.size and out.size and overlap(mask, out):
            found = view(mask.copy())
        return found

    return inlined(read)


def _line_check(mask, name, ndim, place):
    """A function (mask, shape) that checks a mask of rows (place 2) or columns (place 1)."""
    if not given(mask):
        return inlined(lambda mask, shape: None)
    lead, skipped = mask.ndim - 1, ndim - 1 - mask.ndim
    message = f"{name} has a shape that does not fit that of x"

    def check(mask, shape):
        if mask.shape[lead] != shape[ndim - place]:
            raise ValueError(message)
        for k in range(lead):
            if mask.shape[k] != 1 and mask.shape[k] != shape[skipped + k]:
                raise ValueError(message)

    return inlined(check)


@overload(ops.masked_fill_vjp)
def _masked_fill_vjp(cotangent, mask, value=None, shape=None, out=None):
    dtype = floating(cotangent, "cotangent", complex_too=True)
    read, g = ready(cotangent, dtype, False), as_read(cotangent, dtype)
    items_of(g, "cotangent")
    check_mask(mask, "mask")
    ndim = g.ndim
    check = _repeated(mask.ndim, ndim, "mask")
    by_x = _gradient_by_x(g, mask, dtype, shape, out)
    by_value = _gradient_by_value(g, mask, dtype, value)

    def masked_fill_vjp(cotangent, mask, value=None, shape=None, out=None):
        g = read(cotangent)
        check(mask.shape, g.shape)
        second = by_value(g, mask, value)
        return FillGradients(by_x(g, mask, shape, out), second)

    return masked_fill_vjp


def _repeated(ndim, full, name):
    """A function (shape, shape of the cotangent) that checks that the one broadcasts to it."""
    message = f"{name} has a shape that does not broadcast to that of the cotangent"
    if ndim > full:
        raise errors.TypingError(f"{name} has {ndim} dimensions; the cotangent has {full}")
    first = full - ndim
    if ndim == 0:
        return inlined(lambda shape, full_shape: None)

    def check(shape, full_shape):
        for k in range(ndim):
            if shape[k] != 1 and shape[k] != full_shape[first + k]:
                raise ValueError(message)

    return inlined(check)


def _gradient_by_x(g, mask, dtype, shape, out):
    """A function (cotangent, mask, shape, out)."""
    filled = _kept_where(g, mask, dtype, out, False)
    if not given(shape):
        return inlined(lambda g, mask, shape, out: filled(g, mask, out))
    if not isinstance(shape, types.BaseTuple) or any(
        not isinstance(n, types.Integer) for n in shape
    ):
        raise errors.TypingError(f"shape is of type {shape}; it must be a tuple of integers")
    check = _repeated(len(shape), g.ndim, "shape")
    add_up = _summer(g, mask, dtype, len(shape), False)
    if not given(out):

        def summed(g, mask, shape, out):
            check(shape, g.shape)
            return add_up(g, mask, shape)

        return inlined(summed)
    cast_out(out, len(shape), dtype)

    def summed_into(g, mask, shape, out):
        check(shape, g.shape)
        if out.shape != shape:
            raise ValueError("out has another shape than the result")
        store(add_up(g, mask, shape), out)
        return out

    return inlined(summed_into)


def _gradient_by_value(g, mask, dtype, value):
    """A function (cotangent, mask, value): an array, a number, or None without a value."""
    if not given(value):
        return inlined(lambda g, mask, value: None)
    if not isinstance(value, types.Array):
        add_up = _summer(g, mask, dtype, 0, True)
        return inlined(lambda g, mask, value: add_up(g, mask, ())[()])
    check = _repeated(value.ndim, g.ndim, "value")
    add_up = _summer(g, mask, dtype, value.ndim, True)
    finish = inlined((lambda x: x) if value.ndim else (lambda x: x[()]))

    def by_value(g, mask, value):
        check(value.shape, g.shape)
        return finish(add_up(g, mask, value.shape))

    return inlined(by_value)


def _kept_where(g, mask, dtype, out, wanted):
    """A function (cotangent, mask, out): the cotangent where the mask is `wanted`, otherwise 0."""
    _, cast = caster(types.intp, "value", dtype, g.dtype)
    read_mask, value_view = apart(mask.ndim), in_axes(0)
    row = tuning(dtype.itemsize)
    parallel, streamed = row.parallel, row.streamed
    filled = not wanted

    @inlined
    def run(x, mask, out, target):
        inputs = x, read_mask(mask, out), _one_mask(int(wanted)), value_view(cast(0))
        call_all(fill_kernel, x.dtype, (*inputs, target, filled, parallel, streamed))

    write = _writer(g, g.ndim, dtype, out, run)
    return inlined(lambda g, mask, out: write(g, mask, g.shape, out))


def _summer(g, mask, dtype, ndim, wanted):
    """A function (cotangent, mask, shape): its sums, over what was repeated from that shape."""
    whole = _kept_where(g, mask, dtype, None, wanted)
    sum_item = types.complex128 if dtype.kind == "c" else types.float64
    item, view_mask = g.dtype, in_axes(mask.ndim)
    ones = (1,) * (AXES - ndim)
    same_ndim = ndim == g.ndim

    @inlined
    def add_up(g, mask, shape):
        totals = np.zeros(ones + shape, sum_item)
        if g.size:
            a = numbers_in_axes(g)
            call_all(sum_where, a.dtype, (a, view_mask(mask), totals, wanted))
        result = np.empty(shape, item)
        sums, target = totals.reshape(totals.size), as_kernel_reads(result.reshape(result.size))
        for k in range(sums.size):
            target[k] = narrow(sums[k], target.dtype)
        return result

    if not same_ndim:
        return add_up

    def summed(g, mask, shape):
        if shape == g.shape:
            return whole(g, mask, None)
        return add_up(g, mask, shape)

    return inlined(summed)
