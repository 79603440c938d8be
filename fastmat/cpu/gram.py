"""Products of a matrix with itself: aᴴa, of which half is computed, and aᴴ(a q) in one pass."""

from numba import types

from fastmat.core.compile import call, call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import accumulator, narrow, plus
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import (
    SERIAL_WORK,
    SPLIT_AREA,
    SPLIT_PIECES,
    STACK_WORK,
    block_cols,
    block_rows,
    ceil_div,
    depth,
    lanes,
    parts,
    split_depth,
    tile_cols,
    tile_rows,
)
from fastmat.cpu.blocking_linalg import (
    COMBINED_ROWS,
    GRAM_PIECES,
    GRAM_SUMS,
    PACKED_BYTES,
    PACKED_LEAST,
)
from fastmat.cpu.gemm import tiles
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch, sum_dtype
from fastmat.cpu.simd_tall import multiply_shared
from fastmat.cpu.small import DIRECT, is_direct
from fastmat.cpu.views import as_any, part, stack, transposed


@kernel(lambda t: (reads(t, 2), writes(t, 2), *[types.intp] * 3), from_python=True)
def gram(
    a,  # in (m, n), the first of `count`
    c,  # out (n, n), the first of `count`; overlaps nothing
    count,
    a_step,  # bytes from item to item of the stack
    c_step,
):
    """c = aᴴa, for a stack of matrices or (count = 1) for one."""
    m, n = a.shape
    if count * n == 0:
        return
    args = stack(a, count, a_step), stack(c, count, c_step)
    work = max(m, 1) * n * n // 2
    threads = num_threads() if count * work > SERIAL_WORK else 1
    if count > 1 and work <= STACK_WORK:
        parallel_for(_item, count, threads, args)
    else:
        for t in range(count):
            call(gram_of, a.dtype, (args[0][t], args[1][t], threads))


@task
def _item(args, slot, index):
    a, c = args
    call(gram_of, a.dtype, (a[index], c[index], 1))


@kernel(lambda t: (reads(t, 2), writes(t, 2), types.intp))
def gram_of(
    a,  # in (m, n)
    c,  # out (n, n)
    threads,
):
    """c = aᴴa for n > 0. Long sums are split into pieces, as in `slender.long_sums`."""
    m, n = a.shape
    steps, piece = depth(a.dtype), max(m, 1)
    most = min(SPLIT_PIECES, GRAM_SUMS // (n * n), m // n)
    if m > split_depth(a.dtype) and most >= GRAM_PIECES:
        piece = max(split_depth(a.dtype), ceil_div(m, most * steps) * steps)
    pieces = ceil_div(m, piece)
    if pieces > 1:
        height, width = padded(n, tile_rows(a.dtype)), padded(n, lanes(a.dtype))
        partial = scratch((pieces, height, width), sum_dtype(a.dtype))
        parallel_for(_piece, pieces, threads, (a, partial, piece))
        sums = as_any(partial[0])
        parallel_for(_add_up, ceil_div(n, COMBINED_ROWS), threads, (partial, n))
    else:
        sums = _sums_in(c)
        call(triangle, a.dtype, (a, sums, False, threads))
    parallel_for(_mirror, ceil_div(n, COMBINED_ROWS), threads, (sums, c))


def _sums_in(c):
    raise TypeError("only for compiled code")


@overload(_sums_in)
def _sums_in_by_dtype(c):
    """Where the sums of one piece are held: in c, if it can hold them as they are."""
    if accumulator(c.dtype) == c.dtype:
        return lambda c: (
            c if c.strides[1] == c.itemsize else as_any(scratch(c.shape, sum_dtype(c.dtype)))
        )
    return lambda c: as_any(scratch(c.shape, sum_dtype(c.dtype)))


@task
def _piece(args, slot, index):
    a, partial, piece = args
    rows = part(a, index * piece, (index + 1) * piece, 0, a.shape[1])
    _piece_by_dtype(rows, partial[index])


def _piece_by_dtype(a, c):
    raise TypeError("only for compiled code")


@overload(_piece_by_dtype, inline="always")
def _piece_triangle(
    a,  # in (m, n)
    c,  # out (n, n), with room for whole tiles
):
    if not is_direct(a.dtype):
        return lambda a, c: _piece_of_tiles(a, c)

    def piece(a, c):
        if a.shape[1] ** 2 <= SPLIT_AREA:
            call_on_demand(narrow_triangle, a.dtype, (a, c))
        else:
            _piece_of_tiles(a, c)

    return piece


@inlined
def _piece_of_tiles(a, c):
    n = a.shape[1]
    call(triangle, a.dtype, (a, part(c, 0, n, 0, n), False, 1))


@inlined
def padded(n, to):
    """The next multiple."""
    return ceil_div(n, to) * to


@task
def _add_up(args, slot, index):
    """The pieces added up in order, in the first of them, below the diagonal."""
    partial, n = args
    for i in range(index * COMBINED_ROWS, min((index + 1) * COMBINED_ROWS, n)):
        for q in range(1, partial.shape[0]):
            for j in range(i + 1):
                partial[0, i, j] = plus(partial[0, i, j], partial[q, i, j])


@task
def _mirror(args, slot, index):
    sums, c = args
    first, last = index * COMBINED_ROWS, min((index + 1) * COMBINED_ROWS, c.shape[0])
    for j0 in range(0, last, COMBINED_ROWS):
        for i in range(first, last):
            for j in range(j0, min(j0 + COMBINED_ROWS, i + 1)):
                number = _on_diagonal(sums[i, j], i == j)
                c[i, j] = narrow(number, c.dtype)
                c[j, i] = narrow(conjugate(number), c.dtype)


def _on_diagonal(number, diagonal):
    raise TypeError("only for compiled code")


@overload(_on_diagonal)
def _real_on_diagonal(number, diagonal):
    if isinstance(number, types.Complex):
        part = number.underlying_float
        return lambda number, diagonal: number.real + 1j * part(0) if diagonal else number
    return lambda number, diagonal: number


def conjugate(number):
    raise TypeError("only for compiled code")


@overload(conjugate)
def _conjugate_number(number):
    if isinstance(number, types.Complex):
        return lambda number: number.conjugate()
    return lambda number: number


def divided(number, by):
    raise TypeError("only for compiled code")


@overload(divided)
def _divided_by_real(number, by):
    """number / by, for a real number to divide by. (Numba divides complex ones by branches.)"""
    if isinstance(number, types.Complex):
        return lambda number, by: complex(number.real / by, number.imag / by)
    return lambda number, by: number / by


@kernel(lambda t: (reads(t, 2), types.Array(t, 2, "C")), DIRECT)
def narrow_triangle(
    a,  # in (m, n)
    c,  # out (n, n), padded to whole tiles
):
    """On and below the diagonal: c = aᵀa, on one thread, for few columns.

    Rows are packed once, side by side: a panel of rows, and one of columns, are parts of them.
    """
    (m, n), width, size = a.shape, padded(a.shape[1], lanes(a.dtype)), a.itemsize
    rows, cols, half = tile_rows(a.dtype), tile_cols(a.dtype), lanes(a.dtype)
    k_max = max(PACKED_LEAST, PACKED_BYTES // (width * size))
    packed = scratch(k_max * width + rows, a.dtype)
    at, step, stride = packed.ctypes.data, width * size, c.strides[0]
    for p in range(0, m, k_max):
        k = min(k_max, m - p)
        source = part(transposed(a), 0, n, p, p + k)
        call(pack, a.dtype, (source, width, part(packed, 0, k * width)))
        for j in range(0, n, cols):
            for i in range(j // rows * rows, n, rows):
                thirds = ceil_div(3 * min(rows, n - i), rows)
                narrow = width - j == half or i + rows <= j + half
                target = c.ctypes.data + i * stride + j * size
                args = k, at + i * size, at + j * size, step, target, stride, p > 0
                _tile(a.dtype, thirds, narrow, args)


@inlined
def _tile(element, thirds, narrow, args):
    k, a, b, step, c, stride, more = args
    if narrow:
        multiply_shared(element, 3, 1, k, a, b, step, c, stride, more)
    elif thirds == 3:
        multiply_shared(element, 3, 2, k, a, b, step, c, stride, more)
    elif thirds == 2:
        multiply_shared(element, 2, 2, k, a, b, step, c, stride, more)
    else:
        multiply_shared(element, 1, 2, k, a, b, step, c, stride, more)


_TRIANGLE = types.boolean, types.intp


@kernel(lambda t: (reads(t, 2), writes(accumulator(t), 2), *_TRIANGLE))
def triangle(
    x,  # in (k, n)
    c,  # out (n, n), of the accumulator's dtype
    update,
    threads,
):
    """On and below the diagonal: c = xᴴx or, as an update, c -= xᵀx̄. Above it, anything."""
    k, n = x.shape
    scalar, scalars = scalar_dtype(x.dtype), parts(x.dtype)
    rows, cols, k_max = tile_rows(x.dtype), tile_cols(x.dtype), max(1, min(depth(x.dtype), k))
    if k == 0 and not update:
        for i in range(n):
            for j in range(n):
                c[i, j] = 0
    n_max = min(block_cols(x.dtype), ceil_div(n, cols) * cols)
    height = min(block_rows(x.dtype) // rows, ceil_div(ceil_div(n, rows), 4 * threads)) * rows
    packed = scratch(n_max * k_max * scalars, scalar)
    own = scratch((threads, height * k_max * scalars), scalar)
    edges = scratch((threads, rows, cols), c.dtype)
    for j in range(0, n, n_max):
        width = min(n_max, n - j)
        top = j // rows * rows
        for p in range(0, k, k_max):
            steps = part(x, p, p + k_max, 0, n)
            columns = part(steps, 0, k_max, j, j + width)
            parallel_for(
                _pack_columns, ceil_div(width, cols), threads, (columns, cols, packed, update)
            )
            args = steps, packed, c, (j, j + width, top, height), update, p > 0, own, edges
            parallel_for(_row_block, ceil_div(n - top, height), threads, args)


@task
def _pack_columns(args, slot, index):
    x, width, packed, conjugated = args
    size = x.shape[0] * width * parts(x.dtype)
    columns = part(transposed(x), index * width, (index + 1) * width, 0, x.shape[0])
    panel = part(packed, index * size, (index + 1) * size)
    call(pack, x.dtype, (columns, width, panel))
    if conjugated:
        change_signs(x.dtype, panel, width, False, True)


@task
def _row_block(args, slot, index):
    """A block of rows of c, the last ones first: they have most columns below the diagonal."""
    x, packed, c, (left, right, top, height), update, more, own, edges = args
    rows, cols, (k, n) = tile_rows(x.dtype), tile_cols(x.dtype), x.shape
    blocks = ceil_div(n - top, height)
    i0 = top + (blocks - 1 - index) * height
    i1 = min(n, i0 + height)
    panel = k * rows * parts(x.dtype)
    for i in range(i0, i1, rows):
        at = (i - i0) // rows * panel
        target = part(own[slot], at, at + panel)
        call(pack, x.dtype, (part(transposed(x), i, min(i + rows, i1), 0, k), rows, target))
        change_signs(x.dtype, target, rows, update, not update)
    size = packed.itemsize
    for j in range(left, min(right, i1), cols):
        columns = packed.ctypes.data + (j - left) * k * parts(x.dtype) * size
        j1, half = min(j + cols, right), j + cols // 2
        start = max(i0, j // rows * rows)  # the first tile that reaches the diagonal
        turn = min(i1, max(start, half // rows * rows))  # tiles above it need half of the columns
        for first, last, end in ((start, turn, min(half, j1)), (turn, i1, j1)):
            if first < last:
                below = own[slot].ctypes.data + (first - i0) // rows * panel * size
                target = part(c, first, last, j, end)
                call(tiles, x.dtype, (k, below, columns, target, update or more, edges[slot]))


def change_signs(element, panel, width, negate, conjugated):
    raise TypeError("only for compiled code")


@overload(change_signs)
def _change_signs_by_dtype(
    element,
    panel,  # inout (k * parts * width,), real scalars
    width,
    negate,  # whether the numbers become negative
    conjugated,  # whether they become their conjugates
):
    if isinstance(element.dtype, types.Complex):

        def change_signs(element, panel, width, negate, conjugated):
            for row in range(0, panel.shape[0], 2 * width):
                if negate:
                    for t in range(row, row + width):
                        panel[t] = -panel[t]
                if negate != conjugated:
                    for t in range(row + width, row + 2 * width):
                        panel[t] = -panel[t]

    else:

        def change_signs(element, panel, width, negate, conjugated):
            if negate:
                for t in range(panel.shape[0]):
                    panel[t] = -panel[t]

    return change_signs
