"""Columns' means, what they leave, and rows less one row: what centred matrices are made of."""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined, reducing
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_linalg import FLOATS, MOMENT_COLUMNS, MOMENT_ROWS, SHIFTED_NUMBERS
from fastmat.cpu.blocking_reductions import SERIAL
from fastmat.cpu.lines import is_packed, packed
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import as_any, column, part, transposed


def _moments_types(t):
    return reads(t, 2), writes(types.float64, 1), writes(types.float64, 1)


@kernel(_moments_types, ("float32", "float64"), from_python=True)
def column_moments(
    a,  # in (m, n), not empty
    mean,  # out (n,)
    sums,  # inout (2,): grows by the squares of all that means leave, and of the means taken off
):
    """All in one pass, about the first row.

    No number of a sample of m is further from its mean than sqrt(m - 1) standard deviations
    (Samuelson, "How deviant can you be?", 1968): so the squares lose m roundings at most.
    """
    m, n = a.shape
    pieces, strips = ceil_div(m, MOMENT_ROWS), ceil_div(n, MOMENT_COLUMNS)
    totals = as_any(scratch((pieces, n), types.float64))
    products = as_any(scratch((pieces, n), types.float64))
    threads = num_threads() if a.size > SERIAL else 1
    parallel_for(_sum_piece, pieces * strips, threads, (a, totals, products, pieces))
    left, of_means = 0.0, 0.0
    for j in range(n):
        total, product = totals[0, j], products[0, j]
        for piece in range(1, pieces):
            total += totals[piece, j]
            product += products[piece, j]
        mean[j] = a[0, j] + total / m
        of_means += mean[j] * mean[j]
        square = product - total * (total / m)
        if not square < 0:
            left += square
    sums[0] += left
    sums[1] += m * of_means


@task
def _sum_piece(args, slot, index):
    a, totals, products, pieces = args
    piece, j0 = index % pieces, index // pieces * MOMENT_COLUMNS
    i0 = piece * MOMENT_ROWS
    block = part(a, i0, i0 + MOMENT_ROWS, j0, j0 + MOMENT_COLUMNS)
    first = _row(part(a, 0, 1, j0, j0 + MOMENT_COLUMNS), 0)
    total = packed(_row(part(totals, piece, piece + 1, j0, j0 + MOMENT_COLUMNS), 0))
    product = packed(_row(part(products, piece, piece + 1, j0, j0 + MOMENT_COLUMNS), 0))
    if abs(block.strides[0]) < abs(block.strides[1]):
        for j in range(block.shape[1]):
            line = column(block, j)
            if is_packed(line):
                total[j], product[j] = _sums_about(packed(line), first[j])
            else:
                total[j], product[j] = _sums_about(line, first[j])
        return
    for j in range(total.shape[0]):
        total[j] = 0
        product[j] = 0
    for i in range(block.shape[0]):
        line = _row(block, i)
        if is_packed(line) and is_packed(first):
            _add_about(packed(line), packed(first), total, product)
        else:
            _add_about(line, first, total, product)


@inlined
def _row(a, i):
    return column(transposed(a), i)


@inlined
def _add_about(line, first, total, product):
    for j in range(line.shape[0]):
        off = types.float64(line[j]) - types.float64(first[j])
        total[j] += off
        product[j] += off * off


@reducing
def _sums_about(line, first):
    total, product = 0.0, 0.0
    for i in range(line.shape[0]):
        off = types.float64(line[i]) - types.float64(first)
        total += off
        product += off * off
    return total, product


@kernel(lambda t: (reads(t, 2), reads(t, 1), writes(t, 2)), FLOATS, from_python=True)
def subtract_row(
    a,  # in (m, n)
    row,  # in (n,)
    out,  # out (m, n); may be a
):
    """out = a - row, for each row of a."""
    m, n = a.shape
    several = max(1, SHIFTED_NUMBERS // max(n, 1))
    threads = num_threads() if a.size > SERIAL else 1
    parallel_for(_subtract, ceil_div(m, several), threads, (a, row, out, several))


@task
def _subtract(args, slot, index):
    a, row, out, several = args
    for i in range(index * several, min((index + 1) * several, a.shape[0])):
        x, y = _row(a, i), _row(out, i)
        if is_packed(x) and is_packed(row) and is_packed(y):
            _difference(packed(x), packed(row), packed(y))
        else:
            _difference(x, row, y)


@inlined
def _difference(x, row, y):
    for j in range(y.shape[0]):
        y[j] = x[j] - row[j]
