"""Rows and columns of matrices, gathered and written back.

Slices are views, so what comes here are indices of rows, of columns, or of both, all of them
checked. Where no columns are indexed, lines are copied.
"""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import CACHE_LINE, ceil_div
from fastmat.cpu.blocking_masked import AHEAD, CHUNK, CROSSED, FETCHED, RUN, SHORT, TASK
from fastmat.cpu.blocking_reductions import STREAMED_LINE
from fastmat.cpu.lines import packed
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.shuffle import LANE, copy_lane, copy_line, store_fence
from fastmat.cpu.simd import prefetch
from fastmat.cpu.strides import AXES, BITS, address, offset, plane, repeating, replaced
from fastmat.cpu.transpose import copy_lines
from fastmat.cpu.views import contiguous, part, transposed

LINES, ALONG, CROSSWISE = range(3)  # how blocks are moved


def _types(dtype):
    index = reads(types.uint64, 1)
    return reads(dtype, AXES), index, index, writes(dtype, AXES), types.intp, types.intp


@kernel(_types, [str(dtype) for dtype in BITS.values()], from_python=True)
def take(
    x,  # in (6 axes, m, n)
    rows,  # in (k,), which rows; empty: all of them
    cols,  # in (l,), which columns; empty: all of them
    out,  # out (6 axes, k, l), in other memory than all else
    parallel,  # bytes of out from which threads pay
    streamed,  # bytes of out above which stores pass by the caches
):
    """out[..., i, j] = x[..., rows[i], cols[j]]"""
    if out.size == 0:
        return
    if abs(out.strides[-2]) < abs(out.strides[-1]):
        x, out, rows, cols = transposed(x), transposed(out), cols, rows
    mode = _mode(x.strides, out.strides, *out.shape[-2:], cols, x.itemsize)
    plan = _plan(out.shape, mode, out.itemsize)
    nbytes = out.size * out.itemsize
    args = (x, rows, cols, out, plan, mode, nbytes > streamed)
    tasks = ceil_div(plan[-2], plan[-1])
    parallel_for(_take_some, tasks, num_threads() if nbytes >= parallel else 1, args)


@kernel(_types, [str(dtype) for dtype in BITS.values()], from_python=True)
def put(
    values,  # in (6 axes, k, l); axes of length 1 are repeated
    rows,  # in (k,), which rows; empty: all of them
    cols,  # in (l,), which columns; empty: all of them
    x,  # inout (6 axes, m, n), not empty, in other memory than all else
    parallel,  # bytes written from which threads pay
    streamed,  # bytes written above which stores of lines pass by the caches
):
    """x[..., rows[i], cols[j]] = values[..., i, j]

    Not with both empty. If an index is there twice, only one thread that does not stream leaves
    what is written last: blocks follow each other, row by row.
    """
    if abs(x.strides[-2]) < abs(x.strides[-1]):
        values, x, rows, cols = transposed(values), transposed(x), cols, rows
    m = rows.size if rows.size > 0 else x.shape[-2]
    n = cols.size if cols.size > 0 else x.shape[-1]
    steps = repeating(values)
    mode = _mode(steps, x.strides, m, n, cols, x.itemsize)
    shape = replaced(replaced(x.shape, AXES - 2, m), AXES - 1, n)
    plan = _plan(shape, mode, x.itemsize)
    nbytes = x.size // (x.shape[-2] * x.shape[-1]) * m * n * x.itemsize
    args = (values, steps, rows, cols, x, plan, mode, nbytes > streamed)
    tasks = ceil_div(plan[-2], plan[-1])
    parallel_for(_put_some, tasks, num_threads() if nbytes >= parallel else 1, args)


@inlined
def _mode(source, target, m, n, cols, size):
    """How to move blocks, by the strides of what is read and of what is written."""
    if cols.size == 0 and source[-1] == size and target[-1] == size:
        return LINES
    closer = source[-1] != size and source[-2] != 0 and abs(source[-2]) < abs(source[-1])
    return CROSSWISE if closer or n < min(SHORT, m) else ALONG


@inlined
def _plan(shape, mode, size):
    """Shape of the stack, of a block, blocks of a matrix, and of all, and how many are a task."""
    m, n = shape[-2:]
    stack = replaced(replaced(shape, AXES - 2, 1), AXES - 1, 1)
    items = 1
    for axis in range(AXES):
        items *= stack[axis]
    if mode == CROSSWISE:
        width, height = min(n, CACHE_LINE // size), min(m, CROSSED)
    else:
        width = min(n, (RUN if mode == LINES else CHUNK) // size)
        height = min(m, max(1, TASK // (width * size)))
    down, across = ceil_div(m, height), ceil_div(n, width)
    several = max(1, TASK // (width * height * size))
    return stack, (m, n), (height, width), (down, across), items * down * across, several


@inlined
def _block(unit, plan):
    """Number of the matrix, and rows and columns of the block."""
    _, (m, n), (height, width), (down, across), _, _ = plan
    block, item = unit % (down * across), unit // (down * across)
    i, j = block // across * height, block % across * width
    return item, i, min(i + height, m), j, min(j + width, n)


@task
def _take_some(args, slot, index):
    x, rows, cols, out, plan, mode, streaming = args
    stack, units, several = plan[0], plan[-2], plan[-1]
    size, (down, across) = out.itemsize, out.strides[-2:]
    buffer = scratch(CHUNK // size, out.dtype)
    for unit in range(index * several, min((index + 1) * several, units)):
        item, i, i_end, j, j_end = _block(unit, plan)
        a = plane(x, offset(item, stack, x.strides), x.shape[-2:], x.strides[-2:])
        start = offset(item, stack, out.strides) + i * down + j * across
        b = plane(out, start, (i_end - i, j_end - j), (down, across))
        if mode == LINES:
            _take_lines(a, rows, b, i, j, streaming)
        elif mode == CROSSWISE:
            _gather_across(a, rows, cols, b, i, j)
        else:
            _gather_along(a, rows, cols, b, i, j, buffer, streaming)
    if streaming:
        store_fence()
    address(buffer)  # keeps it alive till here: planes do not


@task
def _put_some(args, slot, index):
    values, steps, rows, cols, x, plan, mode, streaming = args
    stack, units, several = plan[0], plan[-2], plan[-1]
    for unit in range(index * several, min((index + 1) * several, units)):
        item, i, i_end, j, j_end = _block(unit, plan)
        start = offset(item, stack, steps) + i * steps[-2] + j * steps[-1]
        a = plane(values, start, (i_end - i, j_end - j), steps[-2:])
        b = plane(x, offset(item, stack, x.strides), x.shape[-2:], x.strides[-2:])
        if mode == LINES:
            _put_lines(a, rows, b, i, j, streaming)
        elif mode == CROSSWISE:
            _scatter_across(a, b, rows, cols, i, j)
        else:
            _scatter_along(a, b, rows, cols, i, j)
    if streaming:
        store_fence()


@inlined
def _at(indices, i):
    """The index at a place, of all indices if there are none."""
    return types.intp(indices[i]) if indices.size > 0 else i


@inlined
def _take_lines(
    x,  # in (m, n), unit stride along n
    rows,  # in (k,)
    out,  # out (h, w), unit stride along w
    i,
    j,
    streaming,
):
    """out = x[rows[i:i+h], j:j+w]

    The last piece of a line is moved back where it would reach over the end: what it shares with
    the one before it is written twice.
    """
    h, w = out.shape
    size = out.itemsize
    lane, line = LANE // size, CACHE_LINE // size
    index = _indices(rows, i, rows.size - i)
    fetched = w * size <= FETCHED
    for p in range(h):
        r = types.intp(index[p])
        if fetched and p + AHEAD < index.size:
            _fetch(x, types.intp(index[p + AHEAD]), j, w)
        if streaming and w * size >= STREAMED_LINE:
            _stream(x, r, j, out, p, 0, w)
        elif w >= line:
            for k in range(0, w - line, line):
                copy_line(x, r, j + k, out, p, k, False)
            copy_line(x, r, j + w - line, out, p, w - line, False)
        elif w >= lane:
            for k in range(0, w - lane, lane):
                copy_lane(x, r, j + k, out, p, k, False)
            copy_lane(x, r, j + w - lane, out, p, w - lane, False)
        else:
            for k in range(w):
                out[p, k] = x[r, j + k]


@inlined
def _put_lines(
    values,  # in (h, w), unit stride along w
    rows,  # in (k,)
    x,  # out (m, n), unit stride along n
    i,
    j,
    streaming,
):
    """x[rows[i:i+h], j:j+w] = values, as `_take_lines`"""
    h, w = values.shape
    size = x.itemsize
    lane, line = LANE // size, CACHE_LINE // size
    index = _indices(rows, i, rows.size - i)
    fetched = w * size <= FETCHED
    for p in range(h):
        r = types.intp(index[p])
        if fetched and p + AHEAD < index.size:
            _fetch(x, types.intp(index[p + AHEAD]), j, w)
        if streaming and w * size >= STREAMED_LINE:
            _stream(values, p, 0, x, r, j, w)
        elif w >= line:
            for k in range(0, w - line, line):
                copy_line(values, p, k, x, r, j + k, False)
            copy_line(values, p, w - line, x, r, j + w - line, False)
        elif w >= lane:
            for k in range(0, w - lane, lane):
                copy_lane(values, p, k, x, r, j + k, False)
            copy_lane(values, p, w - lane, x, r, j + w - lane, False)
        else:
            for k in range(w):
                x[r, j + k] = values[p, k]


@inlined
def _stream(src, i, j, dst, p, q, n):
    """dst[p, q:q+n] = src[i, j:j+n] past the caches, both with unit stride along axis 1."""
    size = dst.itemsize
    a = plane(src, i * src.strides[0] + j * size, (1, n), (0, size))
    copy_lines(a, plane(dst, p * dst.strides[0] + q * size, (1, n), (0, size)), True)


@always_inlined
def _fetch(x, i, j, n):
    """Have x[i, j:j+n] fetched."""
    start = address(x) + i * x.strides[0] + j * x.itemsize
    end = start + n * x.itemsize - 1
    for place in range(start, end, CACHE_LINE):
        prefetch(place)
    prefetch(end)


@inlined
def _row(array, i, j, n):
    """array[i, j:j+n]"""
    down, along = array.strides
    return plane(array, i * down + j * along, (n,), (along,))


@inlined
def _column(array, j):
    """array[:, j]"""
    down, along = array.strides
    return plane(array, j * along, array.shape[:1], (down,))


@inlined
def _indices(indices, start, n):
    """Some of the indices, if there are any."""
    start = min(start, indices.size)
    return contiguous(part(indices, start, start + n))


@inlined
def _gather_along(
    x,  # in (m, n)
    rows,  # in (k,)
    cols,  # in (l,)
    out,  # out (h, w)
    i,
    j,
    buffer,  # scratch (w or more,)
    streaming,
):
    """out = x[rows[i:i+h], cols[j:j+w]], row by row"""
    h, w = out.shape
    size, n = out.itemsize, x.shape[1]
    side_by_side = out.strides[1] == size
    buffered = streaming and side_by_side and w * size >= STREAMED_LINE
    index = _indices(cols, j, w)
    work = plane(buffer, 0, (1, w), (0, size))
    for p in range(h):
        r = _at(rows, i + p)
        target = _row(work, 0, 0, w) if buffered else _row(out, p, 0, w)
        if cols.size == 0:
            source = _row(x, r, j, w)
            for q in range(w):
                target[q] = source[q]
        elif side_by_side and x.strides[1] == size:
            line, destination = packed(_row(x, r, 0, n)), packed(target)
            for q in range(w):
                destination[q] = line[index[q]]
        else:
            source = _row(x, r, 0, n)
            for q in range(w):
                target[q] = source[index[q]]
        if buffered:
            _stream(work, 0, 0, out, p, 0, w)


@inlined
def _gather_across(
    x,  # in (m, n)
    rows,  # in (k,)
    cols,  # in (l,)
    out,  # out (h, w)
    i,
    j,
):
    """out = x[rows[i:i+h], cols[j:j+w]], column by column"""
    h, w = out.shape
    index = _indices(rows, i, h)
    for q in range(w):
        source, target = _column(x, _at(cols, j + q)), _column(out, q)
        if rows.size == 0:
            for p in range(h):
                target[p] = source[i + p]
        else:
            for p in range(h):
                target[p] = source[index[p]]


@inlined
def _scatter_along(
    values,  # in (h, w)
    x,  # out (m, n)
    rows,  # in (k,)
    cols,  # in (l,)
    i,
    j,
):
    """x[rows[i:i+h], cols[j:j+w]] = values, row by row"""
    h, w = values.shape
    index = _indices(cols, j, w)
    for p in range(h):
        r, source = _at(rows, i + p), _row(values, p, 0, w)
        if cols.size == 0:
            target = _row(x, r, j, w)
            for q in range(w):
                target[q] = source[q]
        else:
            target = _row(x, r, 0, x.shape[1])
            for q in range(w):
                target[index[q]] = source[q]


@inlined
def _scatter_across(
    values,  # in (h, w)
    x,  # out (m, n)
    rows,  # in (k,)
    cols,  # in (l,)
    i,
    j,
):
    """x[rows[i:i+h], cols[j:j+w]] = values, column by column"""
    h, w = values.shape
    index = _indices(rows, i, h)
    for q in range(w):
        source, target = _column(values, q), _column(x, _at(cols, j + q))
        if rows.size == 0:
            for p in range(h):
                target[i + p] = source[p]
        else:
            for p in range(h):
                target[index[p]] = source[p]
