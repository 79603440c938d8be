"""Products of a matrix and a vector, and of pairs of vectors, at the speed of memory.

Lane l of a sum adds up the items l, l + lanes, l + 2 lanes, …, and the lanes are added in a tree:
an order that suits rows (SIMD along the row) and columns (SIMD across rows), so that both give
the same bits. Long sums are cut into chunks of fixed length.
"""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import accumulator, narrow, plus, widen
from fastmat.cpu.blocking import (
    COLUMN_ROWS,
    COLUMNS,
    DOT_CHUNK,
    DOT_ROWS,
    ROWS_PER_TASK,
    ceil_div,
    dot_lanes,
    parts,
)
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch, sum_dtype
from fastmat.cpu.simd import multiply_add
from fastmat.cpu.simd_dot import lane_sum, lane_sums
from fastmat.cpu.views import address, column, contiguous, part


@kernel(lambda t: (reads(t, 2), reads(t, 1), writes(t, 1), types.intp))
def matvec(
    a,  # in (m, k)
    x,  # in (k,)
    y,  # out (m,)
    threads,
):
    """y = a @ x for k > 0."""
    m, k = a.shape
    chunks = ceil_div(k, DOT_CHUNK)
    dtype = sum_dtype(a.dtype)
    vector = _in_a_row(x)
    partial = scratch((m, chunks), dtype)
    columns = a.strides[0] == a.itemsize and a.strides[1] != a.itemsize and m > 1
    if columns:
        rows = min(COLUMN_ROWS, ceil_div(m, threads))
        tasks = ceil_div(m, rows) * chunks
        parallel_for(_along_columns, tasks, threads, (a, vector, partial, rows))
    else:
        blocks = ceil_div(m, ROWS_PER_TASK)
        parallel_for(_along_rows, blocks * chunks, threads, (a, vector, partial))
    _add_chunks(partial, y)


@kernel(lambda t: (reads(t, 2), reads(t, 2), writes(t, 1), types.intp))
def pairs(
    a,  # in (count, k)
    b,  # in (count, k)
    y,  # out (count,)
    threads,
):
    """y[i] = sum of conj(a[i]) * b[i] for k > 0."""
    count, k = a.shape
    chunks = ceil_div(k, DOT_CHUNK)
    partial = scratch((count, chunks), sum_dtype(a.dtype))
    blocks = ceil_div(count, ROWS_PER_TASK)
    parallel_for(_pairs, blocks * chunks, threads, (a, b, partial))
    _add_chunks(partial, y)


@inlined
def _add_chunks(
    partial,  # in (m, chunks)
    y,  # out (m,)
):
    for i in range(y.shape[0]):
        total = partial[i, 0]
        for chunk in range(1, partial.shape[1]):
            total = plus(total, partial[i, chunk])
        y[i] = narrow(total, y.dtype)


@inlined
def _piece(index, rows, k, partial):
    """Rows and items that a task adds up, and the chunk of the sums they go to."""
    block, chunk = index // partial.shape[1], index % partial.shape[1]
    start, first = block * rows, chunk * DOT_CHUNK
    return start, min(start + rows, partial.shape[0]), first, min(first + DOT_CHUNK, k), chunk


@task
def _along_rows(args, slot, index):
    a, x, partial = args
    i0, i1, p0, p1, chunk = _piece(index, ROWS_PER_TASK, a.shape[1], partial)
    lanes = dot_lanes(a.dtype)
    whole = (p1 - p0) // lanes * lanes
    in_place = computed_as_stored(a.dtype) and a.strides[1] == a.itemsize
    gathered = scratch(1 if in_place else DOT_ROWS * (p1 - p0), sum_dtype(a.dtype))
    found = scratch(DOT_ROWS * parts(a.dtype) * lanes, scalar_dtype(a.dtype))
    sums = scratch(lanes, sum_dtype(a.dtype))
    for i in range(i0, i1, DOT_ROWS):
        rows = min(DOT_ROWS, i1 - i)
        if in_place:
            at, step = address(a, i, p0), a.strides[0]
        else:
            for r in range(rows):
                _gather(part(a[i + r], p0, p1), part(gathered, r * (p1 - p0), (r + 1) * (p1 - p0)))
            at, step = gathered.ctypes.data, (p1 - p0) * gathered.itemsize
        x_at = x.ctypes.data + p0 * x.itemsize
        if rows == 1:
            lane_sum(a.dtype, whole, at, x_at, found.ctypes.data, 0)
        else:
            lane_sums(a.dtype, whole, at, step, rows, x_at, found.ctypes.data)
        for r in range(rows):
            _collect(found, r, sums)
            for p in range(p0 + whole, p1):
                lane = p - p0 - whole
                sums[lane] = multiply_add(sums[lane], widen(a[i + r, p]), x[p])
            partial[i + r, chunk] = _tree(sums)


@task
def _pairs(args, slot, index):
    a, b, partial = args
    i0, i1, p0, p1, chunk = _piece(index, ROWS_PER_TASK, a.shape[1], partial)
    lanes = dot_lanes(a.dtype)
    whole = (p1 - p0) // lanes * lanes
    stored = computed_as_stored(a.dtype)
    a_in_place = stored and a.strides[1] == a.itemsize
    b_in_place = stored and b.strides[1] == b.itemsize
    a_gathered = scratch(1 if a_in_place else p1 - p0, sum_dtype(a.dtype))
    b_gathered = scratch(1 if b_in_place else p1 - p0, sum_dtype(a.dtype))
    found = scratch(parts(a.dtype) * lanes, scalar_dtype(a.dtype))
    sums = scratch(lanes, sum_dtype(a.dtype))
    for i in range(i0, i1):
        a_at, b_at = address(a, i, p0), address(b, i, p0)
        if not a_in_place:
            _gather(part(a[i], p0, p1), a_gathered)
            a_at = a_gathered.ctypes.data
        if not b_in_place:
            _gather(part(b[i], p0, p1), b_gathered)
            b_at = b_gathered.ctypes.data
        lane_sum(a.dtype, whole, a_at, b_at, found.ctypes.data, 1)
        _collect(found, 0, sums)
        for p in range(p0 + whole, p1):
            lane = p - p0 - whole
            sums[lane] = multiply_add(sums[lane], _conjugate(widen(a[i, p])), widen(b[i, p]))
        partial[i, chunk] = _tree(sums)


@task
def _along_columns(args, slot, index):
    a, x, partial, rows = args
    i0, i1, p0, p1, chunk = _piece(index, rows, a.shape[1], partial)
    lanes = dot_lanes(a.dtype)
    sums = scratch((lanes, i1 - i0), sum_dtype(a.dtype))
    sums[:] = 0
    whole = p0 + (p1 - p0) // (COLUMNS * lanes) * COLUMNS * lanes
    for first in range(p0, whole, COLUMNS * lanes):
        for lane in range(lanes):
            p = first + lane
            _add_columns(part(a, i0, i1), p, lanes, x, sums[lane])
    for p in range(whole, p1):
        _add_column(contiguous(part(column(a, p), i0, i1)), x[p], sums[(p - p0) % lanes])
    half = lanes // 2
    while half:
        for lane in range(half):
            for i in range(i1 - i0):
                sums[lane, i] = plus(sums[lane, i], sums[lane + half, i])
        half //= 2
    for i in range(i0, i1):
        partial[i, chunk] = sums[0, i - i0]


@inlined
def _add_columns(
    a,  # in (rows, k), columns side by side in memory
    p,  # the first column
    step,  # from column to column
    x,  # in (k,)
    sums,  # inout (rows,)
):
    """COLUMNS columns of one lane at once: their sums, in L2, are read and written once for all."""
    q, r, last = p + step, p + 2 * step, p + 3 * step
    s, t, u, v = x[p], x[q], x[r], x[last]
    b, c, d = contiguous(column(a, q)), contiguous(column(a, r)), contiguous(column(a, last))
    a = contiguous(column(a, p))
    for i in range(sums.shape[0]):
        total = multiply_add(sums[i], widen(a[i]), s)
        total = multiply_add(total, widen(b[i]), t)
        total = multiply_add(total, widen(c[i]), u)
        sums[i] = multiply_add(total, widen(d[i]), v)


@inlined
def _add_column(
    column,  # in (rows,)
    factor,
    sums,  # inout (rows,)
):
    for i in range(column.shape[0]):
        sums[i] = multiply_add(sums[i], widen(column[i]), factor)


@inlined
def _gather(source, target):
    for p in range(source.shape[0]):
        target[p] = widen(source[p])


@inlined
def _tree(sums):
    """The sum of the lanes, by halves; `sums` is used up."""
    half = sums.shape[0] // 2
    while half:
        for lane in range(half):
            sums[lane] = plus(sums[lane], sums[lane + half])
        half //= 2
    return sums[0]


def _collect(found, row, sums):
    raise TypeError("only for compiled code")


@overload(_collect)
def _collect_numbers(
    found,  # in (rows * parts * lanes,), real scalars
    row,
    sums,  # out (lanes,)
):
    """The lanes of one row, as numbers."""
    if isinstance(sums.dtype, types.Complex):

        def collect(found, row, sums):
            lanes = sums.shape[0]
            for lane in range(lanes):
                at = 2 * row * lanes + lane
                sums[lane] = complex(found[at], found[at + lanes])

    else:

        def collect(found, row, sums):
            lanes = sums.shape[0]
            for lane in range(lanes):
                sums[lane] = found[row * lanes + lane]

    return collect


def _conjugate(x):
    raise TypeError("only for compiled code")


@overload(_conjugate)
def _conjugate_number(x):
    if isinstance(x, types.Complex):
        return lambda x: x.conjugate()
    return lambda x: x


def _in_a_row(x):
    raise TypeError("only for compiled code")


@overload(_in_a_row)
def _in_a_row_vector(
    x,  # in (k,)
):
    """The numbers of x as they are computed with, side by side: x itself if it is that."""
    if accumulator(x.dtype) == x.dtype:

        def in_a_row(x):
            if x.strides[0] == x.itemsize:
                return contiguous(x)
            vector = scratch(x.shape[0], x.dtype)
            _gather(x, vector)
            return contiguous(vector)

    else:

        def in_a_row(x):
            vector = scratch(x.shape[0], sum_dtype(x.dtype))
            _gather(x, vector)
            return vector

    return in_a_row


def computed_as_stored(dtype):
    raise TypeError("only for compiled code")


@overload(computed_as_stored)
def _computed_as_stored_dtype(dtype):
    same = accumulator(dtype.dtype) == dtype.dtype
    return lambda dtype: same
