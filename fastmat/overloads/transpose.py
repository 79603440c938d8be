"""`transpose` and `matrix_transpose` inside ``@njit``."""

import numpy as np
from numba import njit, types
from numba.core import cgutils, errors
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype

from fastmat.core.compile import call_all
from fastmat.core.dtypes import movable, unmovable
from fastmat.cpu.blocking_transpose import SQUARE, tuning
from fastmat.cpu.strides import AXES, address, bits, strided
from fastmat.cpu.transpose import assign
from fastmat.cpu.transpose_square import transpose_in_place
from fastmat.cpu.views import overlap
from fastmat.ops import transpose as ops
from fastmat.overloads.typing import given


@overload(ops.transpose)
def _transpose(x, axes=None, out=None):
    _check_types(x, out)
    if given(axes):
        order = _checked_order(axes, x.ndim)
    else:
        reverse = tuple(range(x.ndim - 1, -1, -1))
        order = njit(lambda axes: reverse)
    permuted = _permuted(out)
    return lambda x, axes=None, out=None: permuted(x, order(axes), out)


@overload(ops.matrix_transpose)
def _matrix_transpose(x, out=None):
    _check_types(x, out)
    n = x.ndim
    if n < 2:
        raise errors.TypingError(f"x has {n} dimensions; matrix_transpose wants 2 or more")
    order = (*range(n - 2), n - 1, n - 2)
    permuted = _permuted(out)
    return lambda x, out=None: permuted(x, order, out)


def _check_types(x, out):
    if not isinstance(x, types.Array):
        raise errors.TypingError(f"x is of type {x}; it must be an array")
    dtype = as_dtype(x.dtype)
    if not movable(dtype):
        raise errors.TypingError(str(unmovable("x", dtype)))
    if not given(out):
        return
    if not isinstance(out, types.Array):
        raise errors.TypingError(f"out is of type {out}; it must be an array")
    if not out.mutable:
        raise errors.TypingError("out is read-only; it must be writeable")
    if out.ndim != x.ndim:
        raise errors.TypingError(f"out has {out.ndim} dimensions; the result has {x.ndim}")
    if out.dtype != x.dtype:
        raise errors.TypingError(f"out has dtype {out.dtype}; the result has dtype {x.dtype}")


def _checked_order(axes, ndim):
    """A compiled function that counts axes from 0 and checks them."""
    if isinstance(axes, types.Integer):
        axes, as_tuple = (axes,), njit(lambda axes: (axes,))
    else:
        as_tuple = njit(lambda axes: axes)
    if not isinstance(axes, types.BaseTuple | tuple) or any(
        not isinstance(axis, types.Integer) for axis in axes
    ):
        raise errors.TypingError(f"axes is of type {axes}; it must be a tuple of integers or None")
    if len(axes) != ndim:
        raise errors.TypingError(f"axes has {len(axes)} items; x has {ndim} dimensions")
    if ndim == 0:
        return as_tuple
    message = f"axes must be a permutation of the {ndim} axes of x"

    @njit
    def checked(axes):
        order = _integers(as_tuple(axes))
        for i in range(ndim):
            if order[i] < 0:
                order = tuple_setitem(order, i, order[i] + ndim)
            if not 0 <= order[i] < ndim:
                raise ValueError(message)
            for before in range(i):
                if order[before] == order[i]:
                    raise ValueError(message)
        return order

    return checked


@intrinsic
def _integers(typingctx, values):
    """The tuple with all its integers of one type."""
    result = types.UniTuple(types.intp, len(values))

    def codegen(context, builder, signature, args):
        items = [
            context.cast(builder, item, got, types.intp)
            for item, got in zip(cgutils.unpack_tuple(builder, args[0]), values)
        ]
        return context.make_tuple(builder, result, items)

    return result(values), codegen


def _permuted(out):
    """A compiled function of x, the order of axes, and out."""
    if given(out):
        return _into

    @njit
    def permuted(x, order, out):
        view = _view(x, order)
        result = np.empty(view.shape, x.dtype)
        copy_items(view, result)
        return result

    return permuted


@njit
def _into(x, order, out):
    view = _view(x, order)
    if view.shape != out.shape:
        raise ValueError("out has another shape than the result")
    if not overlap(x, out):
        copy_items(view, out)
    elif not (_same(x, out) and _exchanged(out, order)):
        copy_items(_view(x.copy(), order), out)
    return out


@njit
def _same(x, out):
    return address(x) == address(out) and x.strides == out.strides


def _only_compiled(*args):
    raise TypeError("only for compiled code")


def _view(x, order):
    _only_compiled()


def _exchanged(out, order):
    _only_compiled()


def copy_items(src, dst):
    """dst[...] = src, of one shape and dtype, in other memory."""
    _only_compiled()


@overload(_view)
def _view_of(x, order):
    ndim = x.ndim
    if ndim == 0:
        return lambda x, order: x

    def view(x, order):  # Numba's own takes seconds to compile: it looks for axes given twice
        shape, strides = x.shape, x.strides
        for i in range(ndim):
            shape = tuple_setitem(shape, i, x.shape[order[i]])
            strides = tuple_setitem(strides, i, x.strides[order[i]])
        return strided(x, shape, strides)

    return view


@overload(_exchanged)
def _exchanged_in_place(out, order):
    """Transpose in place if just two axes are to change places; return whether they were."""
    ndim = out.ndim
    if not 2 <= ndim <= AXES:
        return lambda out, order: False
    ones, zeros = (1,) * (AXES - ndim), (0,) * (AXES - ndim)
    parallel = _tuning(out).parallel

    def exchanged(out, order):
        last = order
        kept = 0
        for i in range(ndim):
            if order[i] == i:
                last = tuple_setitem(last, kept, i)
                kept += 1
        if kept != ndim - 2:
            return False
        for i in range(ndim):
            if order[i] != i:
                last = tuple_setitem(last, kept, i)
                kept += 1
        squares = _view(out, last)
        a = bits(squares, ones + squares.shape, zeros + squares.strides)
        call_all(transpose_in_place, a.dtype, (a, parallel, SQUARE))
        return True

    return exchanged


@overload(copy_items)
def _assign_arrays(
    src,  # in
    dst,  # out, the same shape, in other memory
):
    if src.ndim > AXES:
        leading = src.ndim - AXES

        def assign_parts(src, dst):
            for index in np.ndindex(src.shape[:leading]):
                copy_items(src[index], dst[index])

        return assign_parts

    ones, zeros = (1,) * (AXES - src.ndim), (0,) * (AXES - src.ndim)
    row = tuple(_tuning(src))

    def assign_arrays(src, dst):
        a = bits(src, ones + src.shape, zeros + src.strides)
        b = bits(dst, ones + dst.shape, zeros + dst.strides)
        call_all(assign, b.dtype, (a, b, *row))

    return assign_arrays


def _tuning(array):
    return tuning(as_dtype(array.dtype).itemsize)
