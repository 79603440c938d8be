"""aᴴ(a q) in one pass over a: a block of its rows is used twice while it is in the cache."""

from fastmat.core.compile import call, kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import (
    SERIAL_WORK,
    block_rows,
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
    STEP_SHARE,
)
from fastmat.cpu.gemm import tiles
from fastmat.cpu.gram import change_signs
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch
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
    height = min(max(1, STEP_BYTES // (n * a.itemsize * rows)) * rows, block_rows(a.dtype))
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
    size = max(height * min(depth(a.dtype), n), rows * height) * parts(a.dtype)
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


@inlined
def _end(j, few, cols):
    """Last column of a panel in sums that are padded: a whole panel needs no merging."""
    return few if 2 * (few - j) <= cols else j + cols


@task
def _piece(args, slot, index):
    a, few, q_packed, sums, piece, height, own, between, again, edges = args
    (m, n), cols, rows = a.shape, tile_cols(a.dtype), tile_rows(a.dtype)
    first, last = index * piece, min((index + 1) * piece, m)
    size, across, left = own.itemsize, sums.shape[2], own[slot].ctypes.data
    for r0 in range(first, last, height):
        r1 = min(r0 + height, last)
        for p in range(0, n, depth(a.dtype)):
            k = min(depth(a.dtype), n - p)
            panel = k * rows * parts(a.dtype)
            for i in range(r0, r1, rows):
                at = (i - r0) // rows * panel
                source = part(a, i, min(i + rows, r1), p, p + k)
                call(pack, a.dtype, (source, rows, part(own[slot], at, at + panel)))
            for j in range(0, few, cols):
                right = q_packed.ctypes.data + (p * across + j * k) * parts(a.dtype) * size
                target = part(between[slot], 0, r1 - r0, j, _end(j, few, cols))
                call(tiles, a.dtype, (k, left, right, target, p > 0, edges[slot]))
        k = r1 - r0
        for j in range(0, few, cols):
            at = j * k * parts(a.dtype)
            columns = part(transposed(between[slot]), j, min(j + cols, few), 0, k)
            target = part(again[slot], at, at + k * cols * parts(a.dtype))
            call(pack, a.dtype, (columns, cols, target))
        panel = part(own[slot], 0, k * rows * parts(a.dtype))
        for i in range(0, n, rows):
            source = part(transposed(a), i, min(i + rows, n), r0, r1)
            call(pack, a.dtype, (source, rows, panel))
            change_signs(a.dtype, panel, rows, False, True)
            for j in range(0, few, cols):
                right = again[slot].ctypes.data + j * k * parts(a.dtype) * size
                target = part(sums[index], i, min(i + rows, n), j, _end(j, few, cols))
                call(tiles, a.dtype, (k, left, right, target, r0 > first, edges[slot]))


@task
def _add_up(args, slot, index):
    sums, pieces, w = args
    for i in range(index * COMBINED_ROWS, min((index + 1) * COMBINED_ROWS, w.shape[0])):
        for j in range(w.shape[1]):
            if pieces:
                w[i, j] = sums[0, i, j]
            else:
                w[i, j] = 0
        for q in range(1, pieces):
            for j in range(w.shape[1]):
                w[i, j] += sums[q, i, j]
