"""The signs of singular vectors, which a decomposition leaves open; lengths of columns."""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import SERIAL_WORK, ceil_div, parts
from fastmat.cpu.blocking_linalg import FLOATS, MEASURED_ROWS
from fastmat.cpu.lines import borrowed, is_packed, packed
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch

_MOST_EXPONENT = 1000  # of a scale: 2**1023 is the largest power in float64


@kernel(lambda t: (writes(t, 2), writes(t, 2)), FLOATS, from_python=True)
def flip_signs(
    u,  # inout (m, k)
    vh,  # inout (k, n)
):
    """Make the entry of largest magnitude in each column of u real and positive.

    The first of several such; a row of vh is multiplied by the conjugate of what its column is.
    """
    (m, k), n = u.shape, vh.shape[1]
    if m * k == 0:
        return
    sizes, phases = scratch(k, scalar_dtype(u.dtype)), scratch(k, u.dtype)
    for c in range(k):
        sizes[c], phases[c] = -1, 1
    for i in range(m):
        for c in range(k):
            size = abs(u[i, c])
            if size > sizes[c]:
                sizes[c], phases[c] = size, u[i, c]
    for c in range(k):
        if sizes[c] > 0:
            phases[c] /= sizes[c]
        else:
            phases[c] = 1
    for i in range(m):
        for c in range(k):
            u[i, c] *= np.conj(phases[c])
    for c in range(k):
        for j in range(n):
            vh[c, j] *= phases[c]


@kernel(lambda t: (reads(t, 2), writes(types.float64, 1)), FLOATS, from_python=True)
def column_lengths(
    x,  # in (m, n)
    lengths,  # out (n,)
):
    """The length of each column; not finite where a number of it is not.

    Squares of float32 do not overflow in float64; numbers of float64 are multiplied by the power of
    2 that makes the largest about 1. Squares are added up by pieces of rows, and those in order.
    """
    m, n = x.shape
    threads = num_threads() if m * n > SERIAL_WORK else 1
    pieces, exponent = ceil_div(m, MEASURED_ROWS), 0
    if x.itemsize == 8 * parts(x.dtype):  # in double precision
        tops = scratch(pieces, types.float64)
        parallel_for(_find_largest, pieces, threads, (x, tops))
        top = 0.0
        for piece in range(pieces):
            top = max(top, tops[piece])
        if 0 < top < np.inf:
            exponent = max(min(-math.frexp(top)[1], _MOST_EXPONENT), -_MOST_EXPONENT)
    sums = scratch((pieces, n), types.float64)
    args = x, sums, math.ldexp(1.0, exponent)
    parallel_for(_add_squares, pieces, threads, args)
    for j in range(n):
        total = 0.0
        for piece in range(pieces):
            total += sums[piece, j]
        lengths[j] = math.ldexp(math.sqrt(total), -exponent)


@task
def _find_largest(args, slot, index):
    x, tops = args
    top = 0.0
    for i in range(index * MEASURED_ROWS, min((index + 1) * MEASURED_ROWS, x.shape[0])):
        for j in range(x.shape[1]):
            top = max(top, abs(x[i, j].real), abs(x[i, j].imag))
    tops[index] = top


@task
def _add_squares(args, slot, index):
    x, sums, scale = args
    totals = sums[index]
    for j in range(x.shape[1]):
        totals[j] = 0
    for i in range(index * MEASURED_ROWS, min((index + 1) * MEASURED_ROWS, x.shape[0])):
        line = borrowed(x, i * x.strides[0], x.shape[1], x.strides[1])
        if is_packed(line):
            _add_line(packed(line), scale, totals)
        else:
            _add_line(line, scale, totals)


@inlined
def _add_line(line, scale, totals):
    for j in range(line.shape[0]):
        real, imaginary = scale * line[j].real, scale * line[j].imag
        totals[j] += real * real + imaginary * imaginary
