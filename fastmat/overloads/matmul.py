"""`matmul`, `matvec`, `vecmat` and `vecdot` inside ``@njit``."""

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu import matmul as kernels
from fastmat.cpu import small
from fastmat.cpu.small import is_small
from fastmat.cpu.views import address, moved_last, overlap
from fastmat.ops import matmul as ops
from fastmat.overloads import programmed as programs
from fastmat.overloads.storing import store
from fastmat.overloads.typing import (
    array_type,
    as_kernel_reads,
    check_out,
    given,
    numba_dtype,
    raising,
    result_dtype,
)


# Inlined by LLVM, which then sees that no reference has to be counted: a 4x4 product takes 31 ns
# instead of 44.
@overload(ops.matmul, jit_options={"forceinline": True}, prefer_literal=True)
def _matmul(
    x1, x2, out=None, dtype=None, semiring=None, mask=None, fill=0, epilogue=None, epilogue_args=()
):
    _check_ranks("matmul", x1, 1, x2, 1)
    vectors = x1.ndim == 1, x2.ndim == 1
    if given(semiring) or given(mask) or given(epilogue):
        options = semiring, mask, fill, epilogue, epilogue_args
        return _programmed(x1, x2, out, dtype, *options, *vectors)
    return _product(kernels.matmul, x1, x2, out, dtype, *vectors)


@overload(ops.matvec)
def _matvec(x1, x2, out=None, dtype=None):
    _check_ranks("matvec", x1, 2, x2, 1)
    product = njit(_product(kernels.matmul, x1, x2, out, dtype, False, True))
    return lambda x1, x2, out=None, dtype=None: product(x1, x2, out, dtype)


@overload(ops.vecmat)
def _vecmat(x1, x2, out=None, dtype=None):
    _check_ranks("vecmat", x1, 1, x2, 2)
    product = njit(_product(kernels.matmul, x1, x2, out, dtype, True, False))
    if isinstance(x1.dtype, types.Complex):
        return lambda x1, x2, out=None, dtype=None: product(np.conj(x1), x2, out, dtype)
    return lambda x1, x2, out=None, dtype=None: product(x1, x2, out, dtype)


@overload(ops.vecdot)
def _vecdot(x1, x2, out=None, axis=-1, dtype=None):
    _check_ranks("vecdot", x1, 1, x2, 1)
    last = njit(_product(kernels.vecdot, x1, x2, out, dtype, True, True))
    if isinstance(axis, int) or getattr(axis, "value", None) == -1:
        return lambda x1, x2, out=None, axis=-1, dtype=None: last(x1, x2, out, dtype)

    def vecdot(x1, x2, out=None, axis=-1, dtype=None):
        return last(_moved(x1, axis), _moved(x2, axis), out, dtype)

    return vecdot


def _moved(x, axis):
    raise TypeError("only for compiled code")


@overload(_moved)
def _moved_axis(x, axis):
    """The array with one axis moved to the end."""
    ndim = x.ndim

    def moved(x, axis):
        if not -ndim <= axis < ndim:
            raise ValueError("vecdot: axis is out of range for x1 or x2")
        return moved_last(x, axis % ndim)

    return moved


def _check_ranks(operation, x1, rank1, x2, rank2):
    for name, x, rank in (("x1", x1, rank1), ("x2", x2, rank2)):
        if array_type(x, name).ndim < rank:
            raise errors.TypingError(
                f"{name} has {x.ndim} dimensions; {operation} wants {rank} or more"
            )


def _product(kernel, x1, x2, out, dtype, row, column):
    """The implementation: x1 counts as stacks of rows if `row`, x2 as columns if `column`."""
    wanted = result_dtype({"x1": x1, "x2": x2}, dtype)
    item = numba_dtype(wanted)
    left, right = (
        _conversion(x1.dtype, item, row, False),
        _conversion(x2.dtype, item, False, column),
    )
    expanded, shape = _EXPANDED[row, column], _SHAPE[row, column]
    ndim = max(x1.ndim + row, x2.ndim + column) - row - column

    if given(out):
        check_out(out, ndim, wanted)
        in_place = out.dtype == item
        two_matrices = not row and not column and x1.ndim == x2.ndim == 2
        unconverted = x1.dtype == x2.dtype == out.dtype == item

        def product(
            x1,
            x2,
            out=None,
            dtype=None,
            semiring=None,
            mask=None,
            fill=0,
            epilogue=None,
            epilogue_args=(),
        ):
            a, b = left(x1), right(x2)
            _check_lengths(a, b)
            if out.shape != shape(a, b):
                raise ValueError("out has another shape than the result")
            if in_place and not overlap(out, x1) and not overlap(out, x2):
                _multiply(kernel, a, b, expanded(out))
            else:
                result = np.empty(out.shape, item)
                _multiply(kernel, a, b, expanded(result))
                store(result, out)
            return out

        if two_matrices and unconverted and item in small.alone.numba_dtypes():
            product = _or_alone(njit(product))

    elif ndim == 0:

        def product(
            x1,
            x2,
            out=None,
            dtype=None,
            semiring=None,
            mask=None,
            fill=0,
            epilogue=None,
            epilogue_args=(),
        ):
            a, b = left(x1), right(x2)
            _check_lengths(a, b)
            result = np.empty((1, 1), item)
            _multiply(kernel, a, b, result)
            return result[0, 0]

    else:

        def product(
            x1,
            x2,
            out=None,
            dtype=None,
            semiring=None,
            mask=None,
            fill=0,
            epilogue=None,
            epilogue_args=(),
        ):
            a, b = left(x1), right(x2)
            _check_lengths(a, b)
            result = np.empty(shape(a, b), item)
            _multiply(kernel, a, b, expanded(result))
            return result

    return product


def _or_alone(product):
    """The product of two matrices of one dtype, by the shortest way if it is small enough.

    The conditions are those of `small.multiply_alone`, all in one body: an array that is handed
    to a function is counted twice, atomically, which takes as long as the work.
    """
    product = raising(product)

    def product_or_alone(
        x1,
        x2,
        out=None,
        dtype=None,
        semiring=None,
        mask=None,
        fill=0,
        epilogue=None,
        epilogue_args=(),
    ):
        (m, k), n = x1.shape, x2.shape[1]
        fits = x2.shape[0] == k and out.shape[0] == m and out.shape[1] == n
        side_by_side = x2.strides[1] == x2.itemsize and out.strides[1] == out.itemsize
        if (
            not fits
            or not is_small(m, k, n, out.dtype)
            or not (side_by_side or n == 1)
            or overlap(x1, out)
            or overlap(x2, out)
        ):
            return product(x1, x2, out, dtype, semiring, mask, fill, epilogue, epilogue_args)
        left = address(x1, 0, 0), x1.strides[0], x1.strides[1]
        right = address(x2, 0, 0), x2.strides[0]
        result = address(out, 0, 0), out.strides[0]
        call_all(small.alone, out.dtype, (out.dtype, out.itemsize, m, k, n, *left, *right, *result))
        return out

    return product_or_alone


def _programmed(x1, x2, out, dtype, semiring, mask, fill, epilogue, epilogue_args, row, column):
    """The implementation for a semiring, a mask or an epilogue."""
    ring = programs.semiring_of(semiring)
    wanted = programs.dtype_for(ring, x1, x2, dtype)
    item, has_out = numba_dtype(wanted), given(out)
    to_left, to_right = (programs.converting(ring, x.dtype, wanted) for x in (x1, x2))
    as_left, as_right = _EXPANDED[row, False], _EXPANDED[False, column]
    expanded, shape = _EXPANDED[row, column], _SHAPE[row, column]
    ndim = max(x1.ndim + row, x2.ndim + column) - row - column
    function, arrays = programs.epilogue_of(epilogue, epilogue_args)
    dtypes = programs.extra_dtypes(function, arrays, wanted)
    addresses, raises = programs.program(ring, function, wanted, dtypes)
    kept, filled = programs.mask_reader(mask), programs.fill_reader(fill, wanted)
    kept_out, dense = programs.leaves_out(fill, has_out), isinstance(mask, types.Array)
    views = programs.extra_views(len(arrays), expanded)
    in_entries = expanded if dense else _as_it_is

    @njit
    def run(a, b, result, mask, fill, arrays):
        matrix = expanded(result)
        blocks, height, width, lower, upper = kept(mask, result, *matrix.shape[-2:])
        band, extras = (height, width, lower, upper), views(arrays, result)
        programs.compute(a, b, matrix, addresses(), in_entries(blocks), band, filled(fill), extras)

    if not has_out:

        def product(
            x1,
            x2,
            out=None,
            dtype=None,
            semiring=None,
            mask=None,
            fill=0,
            epilogue=None,
            epilogue_args=(),
        ):
            a, b = as_left(to_left(x1)), as_right(to_right(x2))
            _check_lengths(a, b)
            result = np.empty(shape(a, b), item)
            run(a, b, result, mask, fill, epilogue_args)
            return result

        if ndim == 0:
            array = njit(product)

            def product(
                x1,
                x2,
                out=None,
                dtype=None,
                semiring=None,
                mask=None,
                fill=0,
                epilogue=None,
                epilogue_args=(),
            ):
                return array(x1, x2, out, dtype, semiring, mask, fill, epilogue, epilogue_args)[()]

        return product

    check_out(out, ndim, wanted)
    overlaps = programs.overlapping(len(arrays))
    meets_mask = njit(lambda out, mask: overlap(out, mask)) if dense else _never
    begin = njit(_copy) if kept_out else _never
    in_place = out.dtype == item and not raises

    def product(
        x1,
        x2,
        out=None,
        dtype=None,
        semiring=None,
        mask=None,
        fill=0,
        epilogue=None,
        epilogue_args=(),
    ):
        a, b = as_left(to_left(x1)), as_right(to_right(x2))
        _check_lengths(a, b)
        if out.shape != shape(a, b):
            raise ValueError("out has another shape than the result")
        meets = overlap(out, x1) or overlap(out, x2) or overlaps(out, views(epilogue_args, out))
        if in_place and not meets and not meets_mask(out, mask):
            run(a, b, out, mask, fill, epilogue_args)
        else:
            result = np.empty(out.shape, item)
            begin(result, out)
            run(a, b, result, mask, fill, epilogue_args)
            store(result, out)
        return out

    return product


def _copy(target, source):
    store(source, target)


@njit
def _never(x, y):
    return False


@njit
def _check_lengths(a, b):
    if a.shape[-1] != b.shape[-2]:
        raise ValueError("x1 and x2 differ in the length to sum over")


def _conversion(dtype, item, row, column):
    """A function that makes an argument stacks of matrices of the dtype of the product."""
    expanded = _EXPANDED[row, column]
    if dtype == item:
        return expanded
    return njit(lambda x: expanded(x.astype(item)))


@njit
def _as_it_is(x):
    return x


@njit
def _as_rows(x):
    return np.expand_dims(x, x.ndim - 1)


@njit
def _as_columns(x):
    return np.expand_dims(x, x.ndim)


@njit
def _as_entries(x):
    return np.expand_dims(np.expand_dims(x, x.ndim), x.ndim)


@njit
def _batch(a, b):
    for axis in range(3, min(a.ndim, b.ndim) + 1):
        x, y = a.shape[a.ndim - axis], b.shape[b.ndim - axis]
        if x not in (1, y) and y != 1:
            raise ValueError("x1 and x2 have leading dimensions that do not broadcast")
    return np.broadcast_shapes(a.shape[:-2], b.shape[:-2])


_EXPANDED = {
    (False, False): _as_it_is,
    (True, False): _as_rows,
    (False, True): _as_columns,
    (True, True): _as_entries,
}
_SHAPE = {
    (False, False): njit(lambda a, b: (*_batch(a, b), a.shape[-2], b.shape[-1])),
    (True, False): njit(lambda a, b: (*_batch(a, b), b.shape[-1])),
    (False, True): njit(lambda a, b: (*_batch(a, b), a.shape[-2])),
    (True, True): njit(lambda a, b: _batch(a, b)),
}


def _multiply(kernel, a, b, c):
    raise TypeError("only for compiled code")


@overload(_multiply)
def _multiply_stacks(
    kernel,
    a,  # in (..., m, k)
    b,  # in (..., k, n), leading axes that broadcast with those of a to those of c
    c,  # out (..., m, n)
):
    if c.ndim == 2:

        def multiply(kernel, a, b, c):
            x, y, z = as_kernel_reads(a), as_kernel_reads(b), as_kernel_reads(c)
            call_all(kernel, z.dtype, (x, y, z, 1, 0, 0, 0))

    else:

        def multiply(kernel, a, b, c):
            if c.size == 0:
                return
            batch = c.shape[:-2]
            x = as_kernel_reads(np.broadcast_to(a, batch + a.shape[-2:]))
            y = as_kernel_reads(np.broadcast_to(b, batch + b.shape[-2:]))
            z = as_kernel_reads(c)
            steps = (x.strides[-3], y.strides[-3], z.strides[-3])
            for index in np.ndindex(batch[:-1]):
                call_all(
                    kernel,
                    z.dtype,
                    (x[index][0], y[index][0], z[index][0], batch[-1], *steps),
                )

    return multiply
