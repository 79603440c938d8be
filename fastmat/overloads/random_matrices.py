"""`permutation`, `orthogonal`, `sparse_sign` and the weights of layers inside ``@njit``."""

import math

import numpy as np
from numba import types
from numba.core import errors
from numba.extending import overload
from numba.np.numpy_support import as_dtype, from_dtype

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.cpu import random as kernels
from fastmat.cpu.random_matrices import permutation as permutation_kernel
from fastmat.cpu.random_matrices import sparse_sign as sparse_kernel
from fastmat.ops import random_matrices as ops
from fastmat.ops.draws import FLOATING, POSITIONS, REAL
from fastmat.ops.random_matrices import MOST_ROWS
from fastmat.overloads.draws import (
    chosen_dtype,
    drawer,
    integer_type,
    lengths_of,
    real_number,
    seed_reader,
    stream_reader,
)
from fastmat.overloads.storing import store
from fastmat.overloads.typing import array_type, check_out, given

_GAIN_OF_RELU = math.sqrt(2.0)


@overload(ops.permutation)
def _permutation(x, out=None, rng=None, stream=0, offset=0):
    integer_type(offset, "offset")
    seed_of, stream_of = seed_reader(rng), stream_reader(stream)

    @inlined
    def order(count, rng, stream, offset):
        if offset < 0 or np.uint64(offset) > np.uint64(POSITIONS - count):
            raise ValueError("offset is out of range; positions must be from 0 to 2**62 - 1")
        result = np.empty(count, np.int64)
        seed, key = seed_of(rng), stream_of(stream)
        if count > 0:
            call_all(permutation_kernel, result.dtype, (result, np.uint64(offset), seed, key))
        return result

    if isinstance(x, types.Integer):

        def shuffled(x, rng, stream, offset):
            if x < 0:
                raise ValueError("x is negative")
            return order(np.int64(x), rng, stream, offset)

        shuffled, ndim, dtype = inlined(shuffled), 1, np.dtype(np.int64)
        shape_of = inlined(lambda x: (np.int64(x),))
    else:
        if array_type(x, "x").ndim == 0:
            raise errors.TypingError("x has no axes; it must have one or more, or be an integer")
        shuffled = inlined(
            lambda x, rng, stream, offset: _taken(x, order(x.shape[0], rng, stream, offset))
        )
        ndim, dtype = x.ndim, as_dtype(x.dtype)
        shape_of = inlined(lambda x: x.shape)
    if not given(out):
        return lambda x, out=None, rng=None, stream=0, offset=0: shuffled(x, rng, stream, offset)
    check_out(out, ndim, dtype)

    def permutation(x, out=None, rng=None, stream=0, offset=0):
        if out.shape != shape_of(x):
            raise ValueError("out has another shape than the result")
        store(shuffled(x, rng, stream, offset), out)
        return out

    return permutation


@inlined
def _taken(x, order):
    result = np.empty(x.shape, x.dtype)
    for i in range(order.size):
        result[i] = x[order[i]]
    return result


@overload(ops.orthogonal, prefer_literal=True)
def _orthogonal(n, m=None, dtype=None, out=None, rng=None, stream=0, offset=0):
    kind = chosen_dtype(dtype, out, "float64", FLOATING)
    integer_type(n, "n")
    if given(m):
        integer_type(m, "m")
        columns = inlined(lambda n, m: np.int64(m))
    else:
        columns = inlined(lambda n, m: np.int64(n))
    integer_type(offset, "offset")
    element = np.empty(0, kind).real.dtype.name
    size = types.UniTuple(types.int64, 2)
    draw = drawer(kernels.normal, element, kind, size, None, rng, stream, offset, None)
    moments = 0.0, 0.0, math.sqrt(0.5) if kind.kind == "c" else 1.0
    turn = inlined(_turn_complex(getattr(types, element)) if kind.kind == "c" else _turn)

    @inlined
    def generate(n, m, rng, stream, offset):
        rows, cols = np.int64(n), columns(n, m)
        if rows < 0 or cols < 0:
            raise ValueError("n or m is negative")
        tall = (max(rows, cols), min(rows, cols))
        result = draw(tall, None, rng, stream, offset, None, moments)
        if result.size:
            q, r = np.linalg.qr(result)
            for j in range(tall[1]):
                turn(result, q, r[j, j], j)
        if rows < cols:
            return result.T.copy()
        return result

    if not given(out):
        return lambda n, m=None, dtype=None, out=None, rng=None, stream=0, offset=0: generate(
            n, m, rng, stream, offset
        )
    check_out(out, 2, kind)

    def orthogonal(n, m=None, dtype=None, out=None, rng=None, stream=0, offset=0):
        if out.shape != (np.int64(n), columns(n, m)):
            raise ValueError("out has another shape than the result")
        store(generate(n, m, rng, stream, offset), out)
        return out

    return orthogonal


def _turn(result, q, number, j):
    """Store a column, times the sign of a number."""
    for i in range(result.shape[0]):
        result[i, j] = -q[i, j] if number < 0 else q[i, j]


def _turn_complex(part):
    """The same for complex numbers, whose parts are of this type."""

    def turn(result, q, number, j):
        real, imag = np.float64(number.real), np.float64(number.imag)
        size = math.sqrt(real * real + imag * imag)
        a, b = part(real / size), part(imag / size)
        for i in range(result.shape[0]):
            x, y = q[i, j].real, q[i, j].imag
            result[i, j] = complex(x * a - y * b, x * b + y * a)

    return turn


@overload(ops.sparse_sign, prefer_literal=True)
def _sparse_sign(shape, nnz_per_column, dtype=None, rng=None, stream=0, offset=0):
    kind = chosen_dtype(dtype, None, "float64", REAL)
    read, axes = lengths_of(shape, "shape")
    if axes != 2:
        raise errors.TypingError(f"shape has {axes} lengths; it must have two")
    integer_type(nnz_per_column, "nnz_per_column")
    integer_type(offset, "offset")
    seed_of, stream_of, item = seed_reader(rng), stream_reader(stream), from_dtype(kind)

    def sparse_sign(shape, nnz_per_column, dtype=None, rng=None, stream=0, offset=0):
        rows, columns = read(shape)
        entries = np.int64(nnz_per_column)
        if columns > 0 and (entries < 1 or entries > rows):
            raise ValueError("nnz_per_column must be from 1 to the number of rows")
        if offset < 0 or offset + columns > MOST_ROWS or rows > MOST_ROWS:
            raise ValueError("there are at most 2**32 rows and columns, from 0 on")
        seed, key = seed_of(rng), stream_of(stream)
        if columns == 0:
            entries = 0
        data, indices = np.empty((columns, entries), item), np.empty((columns, entries), np.int64)
        if data.size:
            call_all(sparse_kernel, data.dtype, (data, indices, rows, np.uint64(offset), seed, key))
        starts = np.arange(columns + 1) * entries
        return data.reshape(-1), indices.reshape(-1), starts

    return sparse_sign


def _fans(shape, whole):
    """A function (shape, whole) of how many numbers come together, and leave."""
    named, name = (whole, "whole") if given(whole) else (shape, "shape")
    read, axes = lengths_of(named, name)
    if axes < 2:
        raise errors.TypingError(f"{name} has {axes} lengths; it must have two or more")

    def fans(lengths):
        found = read(lengths)
        field = 1
        for axis in range(2, axes):
            field *= found[axis]
        return found[1] * field, found[0] * field

    fans = inlined(fans)
    if given(whole):
        return inlined(lambda shape, whole: fans(whole))
    return inlined(lambda shape, whole: fans(shape))


@inlined
def _factor(gain):
    if not (gain >= 0 and gain < np.inf):
        raise ValueError("gain must be at least 0, and finite")
    return np.float64(gain)


@overload(ops.glorot_uniform, prefer_literal=True)
def _glorot_uniform(
    shape, gain=1.0, dtype=None, out=None, rng=None, stream=0, offset=0, whole=None
):
    kind = chosen_dtype(dtype, out, "float64", REAL)
    real_number(gain, "gain")
    fans = _fans(shape, whole)
    draw = drawer(kernels.uniform, kind.name, kind, shape, out, rng, stream, offset, whole)

    def glorot_uniform(
        shape, gain=1.0, dtype=None, out=None, rng=None, stream=0, offset=0, whole=None
    ):
        inputs, outputs = fans(shape, whole)
        bound = _factor(gain) * math.sqrt(6.0 / max(1, inputs + outputs))
        return draw(shape, out, rng, stream, offset, whole, (-bound, bound + bound))

    return glorot_uniform


@overload(ops.he_normal, prefer_literal=True)
def _he_normal(
    shape, gain=_GAIN_OF_RELU, dtype=None, out=None, rng=None, stream=0, offset=0, whole=None
):
    kind = chosen_dtype(dtype, out, "float64", REAL)
    real_number(gain, "gain")
    fans = _fans(shape, whole)
    draw = drawer(kernels.normal, kind.name, kind, shape, out, rng, stream, offset, whole)

    def he_normal(
        shape, gain=_GAIN_OF_RELU, dtype=None, out=None, rng=None, stream=0, offset=0, whole=None
    ):
        inputs, _ = fans(shape, whole)
        deviation = _factor(gain) / math.sqrt(max(1, inputs))
        return draw(shape, out, rng, stream, offset, whole, (0.0, 0.0, deviation))

    return he_normal
