"""aᴴ(a q) in one pass over a: a block of its rows is used twice while it is in the cache."""

from fastmat.core.compile import call, kernel, reads, writes
from fastmat.core.mathfn import narrow
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import (
    SERIAL_WORK,
    ceil_div,
    depth,
    parts,
    tile_cols,
    tile_rows,
)
from fastmat.cpu.blocking_linalg import (
    COMBINED_ROWS,
    FLOATS,
    STEP_BYTES,
    STEP_PIECES,
    STEP_ROWS,
    STEP_SHARE,
)
from fastmat.cpu.gram import change_signs, conjugate
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch
from fastmat.cpu.strided import strided_tiles
from fastmat.cpu.views import part, transposed


@kernel(lambda t: (reads(t, 2), reads(t, 2), writes(t, 2)), FLOATS, from_python=True)
def power_step(
    a,  # in (m, n)
    q,  # in (n, few)
    w,  # out (n, few); overlaps nothing
):
    """w = aᴴ(a q). Rows of a are split into pieces, whose sums are added up in order."""
    (m, n), few = a.shape, q.shape[1]
    if n * few == 0:
        return
    threads = num_threads() if m * n * few > SERIAL_WORK else 1
    rows, cols, scalar = tile_rows(a.dtype), tile_cols(a.dtype), scalar_dtype(a.dtype)
    height = min(max(1, STEP_BYTES // (n * a.itemsize * rows)) * rows, STEP_ROWS)
    blocks = ceil_div(m, height)
    pieces = max(1, min(STEP_PIECES, blocks, m // (STEP_SHARE * few)))
    piece = ceil_div(blocks, pieces) * height
    pieces = ceil_div(m, piece)
    across = ceil_div(few, cols) * cols
    q_packed = scratch(across * n * parts(a.dtype), scalar)
    for p in range(0, n, depth(a.dtype)):
        steps = part(q, p, min(p + depth(a.dtype), n), 0, few)
        at = p * across * parts(a.dtype)
        target = part(q_packed, at, at + across * steps.shape[0] * parts(a.dtype))
        parallel_for(_pack_columns, ceil_div(few, cols), threads, (steps, cols, target))
    sums = scratch((max(1, pieces), n, across), a.dtype)
    size = max(min(depth(a.dtype), n), height) * rows * parts(a.dtype)
    own = scratch((threads, size), scalar)
    between = scratch((threads, height, across), a.dtype)
    again = scratch((threads, height * across * parts(a.dtype)), scalar)
    edges = scratch((threads, rows, cols), a.dtype)
    args = a, few, q_packed, sums, piece, height, own, between, again, edges
    parallel_for(_piece, pieces, threads, args)
    parallel_for(_add_up, ceil_div(n, COMBINED_ROWS), threads, (sums, pieces, w))


@task
def _pack_columns(args, slot, index):
    x, width, packed = args
    size = x.shape[0] * width * parts(x.dtype)
    columns = part(transposed(x), index * width, (index + 1) * width, 0, x.shape[0])
    call(pack, x.dtype, (columns, width, part(packed, index * size, (index + 1) * size)))


@task
def _piece(args, slot, index):
    a, few, q_packed, sums, piece, height, own, between, again, edges = args
    (m, n), cols = a.shape, tile_cols(a.dtype)
    first, last = index * piece, min((index + 1) * piece, m)
    size, across = own.itemsize, sums.shape[2]
    for r0 in range(first, last, height):
        r1 = min(r0 + height, last)
        for p in range(0, n, depth(a.dtype)):
            k = min(depth(a.dtype), n - p)
            source = part(a, r0, r1, p, p + k)
            right = q_packed.ctypes.data + p * across * parts(a.dtype) * size
            target = part(between[slot], 0, r1 - r0, 0, few)
            args = source, right, target, True, p > 0, own[slot], edges[slot]
            call(strided_tiles, a.dtype, args)
        k = r1 - r0
        for j in range(0, few, cols):
            at = j * k * parts(a.dtype)
            columns = part(transposed(between[slot]), j, min(j + cols, few), 0, k)
            target = part(again[slot], at, at + k * cols * parts(a.dtype))
            call(pack, a.dtype, (columns, cols, target))
            change_signs(a.dtype, target, cols, False, True)
        source, right = part(transposed(a), 0, n, r0, r1), again[slot].ctypes.data
        target = part(sums[index], 0, n, 0, few)
        args = source, right, target, True, r0 > first, own[slot], edges[slot]
        call(strided_tiles, a.dtype, args)


@task
def _add_up(args, slot, index):
    sums, pieces, w = args
    for i in range(index * COMBINED_ROWS, min((index + 1) * COMBINED_ROWS, w.shape[0])):
        for j in range(w.shape[1]):
            total = sums[0, i, j] if pieces else narrow(0, w.dtype)
            for q in range(1, pieces):
                total += sums[q, i, j]
            w[i, j] = conjugate(total)
