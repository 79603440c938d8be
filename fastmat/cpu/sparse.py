"""Products of a sparse matrix, in compressed rows, with a block of dense columns.

Columns stand in any order in a row, and may stand there twice. Rows of the result are sums of their
own (`gather`); where several rows of the matrix add to the same sums (`scatter`, `gram_times`), its
rows are split into pieces by how many numbers they hold, and the sums of pieces are added up in
order: the same bits at any number of threads.
"""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import SERIAL_WORK, ceil_div, lanes, parts
from fastmat.cpu.blocking_linalg import COMBINED_ROWS, FLOATS
from fastmat.cpu.blocking_sparse import PIECES, SHARE, TASK_ENTRIES, VECTORS
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.simd_sparse import BOTH, GATHER, SCATTER, sparse_rows


def _pattern(t):
    return reads(t, 1), reads(types.int64, 1), reads(types.int32, 1)


def _with_blocks(t):
    return *_pattern(t), reads(t, 2), writes(t, 2)


@kernel(lambda t: (*_with_blocks(t), types.boolean), FLOATS, from_python=True)
def gather(
    data,  # in (numbers,), contiguous
    starts,  # in (rows + 1,), contiguous: where the numbers of each row are
    columns,  # in (numbers,), contiguous
    x,  # in (columns, few), numbers of a row side by side
    y,  # out (rows, few), likewise; overlaps nothing
    conjugated,  # whether to multiply with the conjugate of the matrix
):
    """y = a @ x, or conj(a) @ x."""
    rows, few = y.shape
    if rows * few == 0:
        return
    work = starts[rows] + rows
    threads = num_threads() if work * few > SERIAL_WORK else 1
    size = max(1, TASK_ENTRIES * rows // work)
    args = data, starts, columns, x, y, conjugated, size
    parallel_for(_gather_rows, ceil_div(rows, size), threads, args)


@task
def _gather_rows(args, slot, index):
    data, starts, columns, x, y, conjugated, size = args
    first, last = index * size, min((index + 1) * size, y.shape[0])
    scalars, wide = y.shape[1] * parts(y.dtype), VECTORS * lanes(y.dtype)
    for j in range(0, scalars, wide):
        offset = j * y.itemsize // parts(y.dtype)
        sparse_rows(
            GATHER,
            y.dtype,
            first,
            last,
            starts.ctypes.data,
            columns.ctypes.data,
            data.ctypes.data,
            conjugated,
            x.ctypes.data + offset,
            x.strides[0],
            y.ctypes.data + offset,
            y.strides[0],
            min(wide, scalars - j),
        )


@kernel(lambda t: (*_with_blocks(t), types.boolean), FLOATS, from_python=True)
def scatter(
    data,  # in (numbers,), contiguous
    starts,  # in (rows + 1,), contiguous
    columns,  # in (numbers,), contiguous
    x,  # in (rows, few), numbers of a row side by side
    y,  # out (columns, few), likewise; overlaps nothing
    conjugated,
):
    """y = the transpose of a, or of conj(a), times x."""
    if y.size == 0:
        return
    rows = starts.shape[0] - 1
    threads = num_threads() if (starts[rows] + rows) * y.shape[1] > SERIAL_WORK else 1
    sums, bounds = _sums(starts, y)
    args = data, starts, columns, x, sums, bounds, y.shape[1], conjugated
    parallel_for(_scatter_rows, bounds.shape[0] - 1, threads, args)
    parallel_for(_add_up, ceil_div(y.shape[0], COMBINED_ROWS), threads, (sums, y))


@task
def _scatter_rows(args, slot, index):
    data, starts, columns, x, sums, bounds, few, conjugated = args
    y = sums[index]
    _clear(y)
    scalars, wide = few * parts(y.dtype), VECTORS * lanes(y.dtype)
    for j in range(0, scalars, wide):
        offset = j * y.itemsize // parts(y.dtype)
        sparse_rows(
            SCATTER,
            y.dtype,
            bounds[index],
            bounds[index + 1],
            starts.ctypes.data,
            columns.ctypes.data,
            data.ctypes.data,
            conjugated,
            x.ctypes.data + offset,
            x.strides[0],
            y.ctypes.data + offset,
            y.strides[0],
            min(wide, scalars - j),
        )


@kernel(_with_blocks, FLOATS, from_python=True)
def gram_times(
    data,  # in (numbers,), contiguous
    starts,  # in (rows + 1,), contiguous
    columns,  # in (numbers,), contiguous
    x,  # in (columns, few), numbers of a row side by side
    y,  # out (columns, few), likewise; overlaps nothing
):
    """y = aᴴ(a x), in one pass over a: a row of a x is used where it has just been found."""
    if y.size == 0:
        return
    rows = starts.shape[0] - 1
    threads = num_threads() if (starts[rows] + rows) * y.shape[1] > SERIAL_WORK else 1
    sums, bounds = _sums(starts, y)
    args = data, starts, columns, x, sums, bounds, y.shape[1]
    parallel_for(_gather_and_scatter_rows, bounds.shape[0] - 1, threads, args)
    parallel_for(_add_up, ceil_div(y.shape[0], COMBINED_ROWS), threads, (sums, y))


@task
def _gather_and_scatter_rows(args, slot, index):
    data, starts, columns, x, sums, bounds, few = args
    y = sums[index]
    _clear(y)
    scalars, wide = few * parts(y.dtype), VECTORS * lanes(y.dtype)
    for j in range(0, scalars, wide):
        offset = j * y.itemsize // parts(y.dtype)
        sparse_rows(
            BOTH,
            y.dtype,
            bounds[index],
            bounds[index + 1],
            starts.ctypes.data,
            columns.ctypes.data,
            data.ctypes.data,
            False,
            x.ctypes.data + offset,
            x.strides[0],
            y.ctypes.data + offset,
            y.strides[0],
            min(wide, scalars - j),
        )


@inlined
def _sums(
    starts,  # in (rows + 1,)
    y,  # (columns, few)
):
    """Space for the sums of pieces (pieces, columns, few), and the rows that pieces begin with."""
    rows, (height, few) = starts.shape[0] - 1, y.shape
    work = starts[rows] + rows
    pieces = max(1, min(PIECES, work // (SHARE * height)))
    bounds = scratch(pieces + 1, types.int64)
    for piece in range(pieces + 1):
        low, high = 0, rows
        while low < high:  # the first row before which there are as many numbers and rows
            middle = (low + high) // 2
            if starts[middle] + middle < piece * work // pieces:
                low = middle + 1
            else:
                high = middle
        bounds[piece] = low
    wide = lanes(y.dtype)  # rows begin where a vector does
    across = ceil_div(few * parts(y.dtype), wide) * wide // parts(y.dtype)
    return scratch((pieces, height, across), y.dtype), bounds


@inlined
def _clear(sums):
    for i in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            sums[i, j] = 0


@task
def _add_up(args, slot, index):
    sums, y = args
    for i in range(index * COMBINED_ROWS, min((index + 1) * COMBINED_ROWS, y.shape[0])):
        for j in range(y.shape[1]):
            y[i, j] = sums[0, i, j]
        for piece in range(1, sums.shape[0]):
            for j in range(y.shape[1]):
                y[i, j] += sums[piece, i, j]
