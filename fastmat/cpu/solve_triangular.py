"""Triangular systems: x r = a for the rows of a, each of which is a system of its own.

Columns are solved in blocks. What the blocks before contribute is one product; within a block the
rows lie in the lanes of vectors, and are substituted as they would be one by one.
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import call, call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined, overload, reducing
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import SERIAL_WORK, ceil_div, lanes, parts
from fastmat.cpu.blocking_linalg import (
    FLOATS,
    SOLVE_COLUMNS,
    SOLVE_FEW,
    SOLVE_ROWS,
    SOLVE_VECTORS,
)
from fastmat.cpu.matmul import product
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch
from fastmat.cpu.shuffle import tile_side, transpose_tile
from fastmat.cpu.simd_tall import add_rows
from fastmat.cpu.small import is_direct
from fastmat.cpu.views import as_any, contiguous, in_rows, part

_TYPES = types.boolean, writes(types.float64, 2), types.intp


@kernel(lambda t: (reads(t, 2), reads(t, 2), writes(t, 2), types.boolean), FLOATS, from_python=True)
def solve_triangular(
    a,  # in (m, n)
    r,  # in (n, n), upper
    x,  # out (m, n); may be a itself
    unit,
):
    """x r = a."""
    m, n = a.shape
    if m * n:
        threads = num_threads() if m * n * n > SERIAL_WORK else 1
        call(solve_right, a.dtype, (a, r, x, unit, no_squares(), threads))


@kernel(lambda t: (reads(t, 2), reads(t, 2), writes(t, 2), *_TYPES), FLOATS)
def solve_right(
    a,  # in (m, n)
    r,  # in (n, n), upper; what is below the diagonal is not read
    x,  # out (m, n); may be a itself
    unit,  # whether the diagonal is taken to be 1, and not read
    squares,  # out (blocks, n): the squared lengths of columns of x, block by block; or (0, 0)
    threads,
):
    """x r = a for m, n > 0."""
    m, n = a.shape
    scalar, scalars = scalar_dtype(a.dtype), parts(a.dtype)
    across = min(n, SOLVE_COLUMNS)
    few, width = _is_few(m, a.dtype), block_of(m, a.dtype)
    factors, scales = scratch((n, across * scalars), scalar), scratch((n, 3), scalar)
    _load_factors(r, factors, scales, unit)
    own = scratch((threads, across * width * scalars), scalar)
    blocked = n > across
    others = scratch((threads if blocked else 0, across * width * scalars), scalar)
    products = scratch(min(m, SOLVE_ROWS) * across if blocked else 0, a.dtype)
    for i in range(0, m, SOLVE_ROWS):
        rows = min(SOLVE_ROWS, m - i)
        for j in range(0, n, across):
            end = min(j + across, n)
            before = as_any(in_rows(products, rows if j else 0, end - j))
            if j:
                left, right = part(x, i, i + rows, 0, j), part(r, 0, j, j, end)
                call_on_demand(product, a.dtype, (left, right, before, threads))
            columns = part(factors, j, end, 0, across * scalars), part(scales, j, end, 0, 3)
            given, solved = part(a, i, i + rows, j, end), part(x, i, i + rows, j, end)
            lengths = part(squares, i // width, ceil_div(i + rows, width), j, end)
            args = given, before, columns, solved, few, width, own, others, lengths
            parallel_for(_solve_rows, ceil_div(rows, width), threads, args)


@inlined
def _is_few(m, element):
    return m <= SOLVE_FEW * lanes(element)


@inlined
def block_of(m, element):
    """How many rows are solved at once, where there are m of them."""
    return (SOLVE_FEW if _is_few(m, element) else SOLVE_VECTORS // parts(element)) * lanes(element)


@inlined
def no_squares():
    return as_any(scratch((0, 0), types.float64))


@reducing
def _sum_of_squares(numbers):
    total = numbers[0] * numbers[0]
    for t in range(1, numbers.shape[0]):
        total += numbers[t] * numbers[t]
    return total


@inlined
def _load_factors(
    r,  # in (n, n), upper
    factors,  # out (n, across * parts): what row i of a block contributes to column j, negated
    scales,  # out (n, 3): what column j is divided by, and then, if complex, multiplied by
    unit,
):
    n, across = r.shape[0], factors.shape[1] // parts(r.dtype)
    for j in range(n):
        first = j // across * across
        for i in range(first, j):
            _put_negated(factors[j], i - first, r[i, j])
        if unit:
            scales[j, 0], scales[j, 1], scales[j, 2] = 1, 1, 0
        else:
            _put_scale(scales[j], r[j, j])


def _put_negated(row, i, value):
    raise TypeError("only for compiled code")


@overload(_put_negated)
def _put_negated_number(row, i, value):
    if isinstance(value, types.Complex):

        def put(row, i, value):
            row[2 * i], row[2 * i + 1] = -value.real, -value.imag

        return put

    def put_real(row, i, value):
        row[i] = -value

    return put_real


def _put_scale(scale, value):
    raise TypeError("only for compiled code")


@overload(_put_scale)
def _put_scale_of_number(scale, value):
    """A number to divide by; a complex one as a power of 2, and the inverse of what is left."""
    if not isinstance(value, types.Complex):

        def put(scale, value):
            scale[0] = value

        return put

    def put_complex(scale, value):
        number = np.complex128(value)
        largest = max(abs(number.real), abs(number.imag))
        power = math.ldexp(1.0, math.frexp(largest)[1] - 1)
        u, v = number.real / power, number.imag / power
        square = u * u + v * v
        scale[0], scale[1], scale[2] = power, u / square, -v / square

    return put_complex


@task
def _solve_rows(args, slot, index):
    a, before, (factors, scales), x, few, width, own, others, squares = args
    m, n = a.shape
    first, last = index * width, min((index + 1) * width, m)
    row = width * parts(a.dtype)
    panel = part(own[slot], 0, n * row)
    call(pack, a.dtype, (part(a, first, last, 0, n), width, panel))
    if before.shape[0]:
        other = part(others[slot], 0, n * row)
        call(pack, a.dtype, (part(before, first, last, 0, n), width, other))
        for t in range(n * row):
            panel[t] -= other[t]
    numbers, size = panel.ctypes.data, panel.itemsize
    for j in range(n):
        column, target = factors.ctypes.data + j * factors.strides[0], numbers + j * row * size
        if few:
            add_rows(a.dtype, SOLVE_FEW, j, column, numbers, target)
        else:
            _add_rows(a.dtype, j, column, numbers, target)
        numbers_of_column = part(panel, j * row, (j + 1) * row)
        _divide(a.dtype, numbers_of_column, scales[j])
        if squares.shape[0] > 0:  # beyond the end of none it is less
            squares[index, j] = _sum_of_squares(contiguous(numbers_of_column))
    _unload(in_rows(panel, n * parts(a.dtype), width), part(x, first, last, 0, n))


def _add_rows(element, k, factors, x, target):
    raise TypeError("only for compiled code")


@overload(_add_rows)
def _add_rows_by_dtype(element, k, factors, x, target):
    vectors = SOLVE_VECTORS // (2 if isinstance(element.dtype, types.Complex) else 1)
    return lambda element, k, factors, x, target: add_rows(element, vectors, k, factors, x, target)


def _divide(element, row, scale):
    raise TypeError("only for compiled code")


@overload(_divide)
def _divide_by_dtype(
    element,
    row,  # inout (parts * width,)
    scale,  # in (3,), of `_put_scale`
):
    if not isinstance(element.dtype, types.Complex):

        def divide(element, row, scale):
            for t in range(row.shape[0]):
                row[t] /= scale[0]

        return divide

    def divide_complex(element, row, scale):
        width = row.shape[0] // 2
        for t in range(width):
            u, v = row[t] / scale[0], row[width + t] / scale[0]
            row[t] = u * scale[1] - v * scale[2]
            row[width + t] = u * scale[2] + v * scale[1]

    return divide_complex


def _unload(panel, x):
    raise TypeError("only for compiled code")


@overload(_unload)
def _unload_by_dtype(
    panel,  # in (n * parts, width), real scalars
    x,  # out (m, n), m up to width
):
    if not is_direct(x.dtype):

        def unload_complex(panel, x):
            for i in range(x.shape[0]):
                for j in range(x.shape[1]):
                    x[i, j] = complex(panel[2 * j, i], panel[2 * j + 1, i])

        return unload_complex

    def unload(panel, x):
        (m, n), side = x.shape, tile_side(x)
        if x.strides[1] == x.itemsize and min(m, n) >= side:
            for i in range(0, m, side):
                for j in range(0, n, side):
                    transpose_tile(
                        panel,
                        min(j, n - side),
                        min(i, m - side),
                        x,
                        min(i, m - side),
                        min(j, n - side),
                        False,
                    )
        else:
            for j in range(n):
                for i in range(m):
                    x[i, j] = panel[j, i]

    return unload
