"""The programmable product: any semiring, only the entries that a mask keeps, any last step.

The five loops of `gemm`, compiled once for a dtype: the tile, which multiplies and adds, and the
epilogue, which is applied to a tile while it is in the cache, are called by their addresses. Tiles
of which the mask keeps nothing are not computed, and panels that only they would read not packed.
Sums go on over blocks of k in the order of k, so their bits do not depend on how it is blocked.
"""

from numba import types

from fastmat.core.compile import call, call_at, call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import accumulator, narrow, widen
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import (
    ROWS_PER_TASK,
    SERIAL_WORK,
    STACK_WORK,
    block_cols,
    block_rows,
    ceil_div,
    depth,
    parts,
    tile_cols,
    tile_rows,
)
from fastmat.cpu.lines import is_packed, line, packed
from fastmat.cpu.masks import ALL, KEPT, NONE, SOME, is_kept, kept_in, write_kept
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch, sum_dtype
from fastmat.cpu.views import address, part, stack, transposed

PROGRAM = types.UniTuple(types.intp, 3)  # addresses of tile, dot product, epilogue (0: none)
EXTRAS = types.Array(types.intp, 2, "C")


def _types(t):
    operands = reads(t, 2), reads(t, 2), writes(t, 2)
    return (*operands, *[types.intp] * 4, PROGRAM, KEPT, types.intp, reads(t, 1), EXTRAS)


@kernel(_types, from_python=True)
def programmed(
    a,  # in (m, k), the first of `count`
    b,  # in (k, n), the first of `count`
    c,  # out (m, n), the first of `count`; overlaps nothing
    count,
    a_step,  # bytes from item to item of the stack
    b_step,
    c_step,
    program,  # addresses: tile, dot product, epilogue
    kept,  # the mask of the first item
    mask_step,  # bytes from item to item of its blocks
    fill,  # in (1,): what is stored where the mask keeps nothing; (0,): nothing is
    extras,  # in (extras, 4): address, bytes from item to item, row to row, column to column
):
    """c = epilogue(sum of products), for a stack of matrices or (count = 1) for one."""
    (m, k), n = a.shape, b.shape[1]
    if count * m * n == 0:
        return
    blocks, height, width, lower, upper = kept
    a_items, b_items, c_items = (
        stack(a, count, a_step),
        stack(b, count, b_step),
        stack(c, count, c_step),
    )
    masks = stack(blocks, count, mask_step)
    work = m * n * max(k, 1)
    threads = num_threads() if count * work > SERIAL_WORK else 1
    args = (a_items, b_items, c_items, program, masks, (height, width, lower, upper), fill, extras)
    if count > 1 and work <= STACK_WORK:
        parallel_for(_item, count, threads, args)
    else:
        for t in range(count):
            _product(args, t, threads)


@task
def _item(args, slot, index):
    _product(args, index, 1)


@inlined
def _product(args, item, threads):
    a, b, c, program, masks, (height, width, lower, upper), fill, extras = args
    kept = (masks[item], height, width, lower, upper)
    x, y, z = a[item], b[item], c[item]
    if z.shape[1] == 1 and program[2] == 0 and kept_in(kept, 0, z.shape[0], 0, 1) == ALL:
        call_on_demand(dots, a.dtype, (x, y, z, program[1], threads))
    else:
        _rounded(x, y, z, program, kept, fill, extras, item, threads)


def _rounded(a, b, c, program, kept, fill, extras, item, threads):
    raise TypeError("only for compiled code")


@overload(_rounded)
def _rounded_to_dtype(a, b, c, program, kept, fill, extras, item, threads):
    """The product, by way of sums of another dtype where c is of a short one."""
    if accumulator(c.dtype) == c.dtype:

        def rounded(a, b, c, program, kept, fill, extras, item, threads):
            call_on_demand(blocked, a.dtype, (a, b, c, program, kept, fill, extras, item, threads))

    else:

        def rounded(a, b, c, program, kept, fill, extras, item, threads):
            sums = scratch(c.shape, sum_dtype(a.dtype))
            call_on_demand(
                blocked, a.dtype, (a, b, sums, program, kept, fill, extras, item, threads)
            )
            for i in range(c.shape[0]):
                for j in range(c.shape[1]):
                    if fill.shape[0] > 0 or is_kept(kept, i, j):
                        c[i, j] = narrow(sums[i, j], c.dtype)

    return rounded


def _dots_types(t):
    return reads(t, 2), reads(t, 2), writes(t, 2), types.intp, types.intp


@kernel(_dots_types)
def dots(
    a,  # in (m, k)
    b,  # in (k, 1)
    c,  # out (m, 1)
    dot,  # address
    threads,
):
    """c = a times one column, row by row."""
    m, k = a.shape
    scalar, size = scalar_dtype(a.dtype), k * parts(a.dtype)
    column = scratch(size, scalar)
    call(pack, a.dtype, (transposed(b), 1, column))
    rows = scratch((threads, size), scalar)
    results = scratch((threads, 1), sum_dtype(a.dtype))
    args = (a, column, c, dot, rows, results)
    parallel_for(_dot_rows, ceil_div(m, ROWS_PER_TASK), threads, args)


@task
def _dot_rows(args, slot, index):
    a, column, c, dot, rows, results = args
    row, k = rows[slot], a.shape[1]
    i0 = index * ROWS_PER_TASK
    for i in range(i0, min(i0 + ROWS_PER_TASK, a.shape[0])):
        call(pack, a.dtype, (part(a, i, i + 1), 1, row))
        at = address(results, slot, 0)
        call_at(dot, (a.dtype, k, row.ctypes.data, column.ctypes.data, at))
        c[i, 0] = narrow(results[slot, 0], c.dtype)


def _blocked_types(t):
    operands = reads(t, 2), reads(t, 2), writes(accumulator(t), 2)
    return (*operands, PROGRAM, KEPT, reads(t, 1), EXTRAS, types.intp, types.intp)


@kernel(_blocked_types)
def blocked(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n), of the accumulator's dtype
    program,
    kept,
    fill,
    extras,
    item,  # of the stack
    threads,
):
    """c = epilogue(sum of products) where the mask keeps c."""
    (m, k), n = a.shape, b.shape[1]
    scalar, scalars = scalar_dtype(a.dtype), parts(a.dtype)
    rows, cols, k_max = tile_rows(a.dtype), tile_cols(a.dtype), max(1, min(depth(a.dtype), k))
    states = scratch((ceil_div(m, rows), ceil_div(n, cols)), types.uint8)
    parallel_for(_survey, states.shape[0], threads, (kept, rows, cols, m, n, states))
    n_max = min(block_cols(a.dtype), ceil_div(n, cols) * cols)
    height = min(block_rows(a.dtype) // rows, ceil_div(ceil_div(m, rows), 2 * threads)) * rows
    blocks = ceil_div(m, height)
    across = 1 if blocks >= threads else ceil_div(threads, blocks)
    b_packed = scratch(n_max * k_max * scalars, scalar)
    own = scratch((threads, height * k_max * scalars), scalar)
    edges = scratch((threads, rows, cols), c.dtype)
    flags = scratch((threads, rows, cols), types.uint8)
    for j in range(0, n, n_max):
        z = part(c, 0, m, j, j + n_max)
        panels = ceil_div(z.shape[1], cols)
        width = ceil_div(panels, across) * cols
        tasks = blocks * ceil_div(z.shape[1], width)
        for p in range(0, max(k, 1), k_max):
            x, y = part(a, 0, m, p, p + k_max), part(b, p, p + k_max, j, j + n_max)
            parallel_for(_pack_columns, panels, threads, (transposed(y), cols, b_packed, states, j))
            step = (p > 0, p + k_max >= k, j, item, height, width)
            args = (x, b_packed, z, step, program, kept, fill, extras, states, own, edges, flags)
            parallel_for(_row_block, tasks, threads, args)


@task
def _survey(args, slot, index):
    """What the mask keeps of a row of tiles."""
    kept, rows, cols, m, n, states = args
    i0 = index * rows
    for t in range(states.shape[1]):
        j0 = t * cols
        states[index, t] = kept_in(kept, i0, min(i0 + rows, m), j0, min(j0 + cols, n))


@task
def _pack_columns(args, slot, index):
    """One panel of b, if any tile needs it; columns of b are rows of its transpose."""
    source, width, packed, states, j0 = args
    tile = j0 // width + index
    needed = False
    for i in range(states.shape[0]):
        needed |= states[i, tile] != NONE
    if needed:
        size = source.shape[1] * width * parts(source.dtype)
        panel = part(packed, index * size, (index + 1) * size)
        _pack_repeated(part(source, index * width, (index + 1) * width), width, panel)


@inlined
def _pack_repeated(source, width, panel):
    """Pack rows; where there are fewer than the panel holds, the last one is repeated.

    (What is computed from it is not stored, but a user's function may not like zeros.)
    """
    rows, k = source.shape
    call(pack, source.dtype, (source, width, panel))
    if rows < width:
        for line in range(k * parts(source.dtype)):
            for r in range(rows, width):
                panel[line * width + r] = panel[line * width + rows - 1]


@task
def _row_block(args, slot, index):
    """A block of rows of c: its rows of a are packed, then multiplied with all of packed b."""
    a, b_packed, c, step, program, kept, fill, extras, states, own, edges, flags = args
    accumulate, last, j_first, item, height, width = step
    rows, cols, k = tile_rows(a.dtype), tile_cols(a.dtype), a.shape[1]
    across = ceil_div(c.shape[1], width)
    i0, j0 = index // across * height, index % across * width
    i1, j1 = min(c.shape[0], i0 + height), min(c.shape[1], j0 + width)
    panel = k * rows * parts(a.dtype)
    first_tile, last_tile = (j_first + j0) // cols, (j_first + j1 - 1) // cols
    for i in range(i0, i1, rows):
        needed = False
        for t in range(first_tile, last_tile + 1):
            needed |= states[i // rows, t] != NONE
        if needed:
            at = (i - i0) // rows * panel
            target = part(own[slot], at, at + panel)
            _pack_repeated(part(a, i, min(i + rows, i1)), rows, target)
    left, size = own[slot].ctypes.data, b_packed.itemsize
    for j in range(j0, j1, cols):
        right = b_packed.ctypes.data + j * k * parts(a.dtype) * size
        target = part(c, i0, i1, j, min(j + cols, j1))
        place = (i0, j_first + j, item)
        stage = (accumulate, last)
        found = (target, k, left, right, place, stage, program, kept, fill, extras, states)
        call(tiles, a.dtype, (*found, edges[slot], flags[slot]))


def _tiles_types(t):
    sums, index = accumulator(t), types.intp
    operands = writes(sums, 2), index, index, index
    where = types.UniTuple(index, 3), types.UniTuple(types.boolean, 2)
    masked = KEPT, reads(t, 1), EXTRAS, types.Array(types.uint8, 2, "C")
    work = types.Array(sums, 2, "C"), types.Array(types.uint8, 2, "C")
    return (*operands, *where, PROGRAM, *masked, *work)


@kernel(_tiles_types)
def tiles(
    c,  # inout (m, n), n up to NR
    k,
    a,  # in, address of the panels of rows
    b,  # in, address of one panel of columns
    place,  # row, column, item of the stack: of the first entry of c
    stage,  # whether to accumulate, whether k ends here
    program,
    kept,
    fill,
    extras,
    states,  # in (tiles of rows, tiles of columns): what the mask keeps of each
    edge,  # scratch (MR, NR)
    flags,  # scratch (MR, NR)
):
    """c (+)= the panels of a times one panel of b, tile by tile, where the mask keeps c."""
    (m, n), rows, cols = c.shape, tile_rows(fill.dtype), tile_cols(fill.dtype)
    (i0, j0, item), (accumulate, last), (tile, _, epilogue) = place, stage, program
    element = fill.dtype
    panel = k * rows * edge.itemsize
    halves, at_edge, edge_stride = 1 if 2 * n <= cols else 2, address(edge, 0, 0), edge.strides[0]
    for i in range(0, m, rows):
        height = min(rows, m - i)
        state = states[(i0 + i) // rows, j0 // cols]
        if state == SOME:
            write_kept(kept, i0 + i, j0, flags, height, n)
        if state != NONE:
            whole = state == ALL and height == rows and n == cols
            in_place = whole and c.strides[1] == c.itemsize
            at, stride = (address(c, i, 0), c.strides[0]) if in_place else (at_edge, edge_stride)
            thirds = ceil_div(3 * height, rows)
            if accumulate and not in_place:
                call_at(tile, (element, 0, a, b, at, stride, thirds, halves, False))
                _fetch(c, i, height, edge, flags, state)
            call_at(tile, (element, k, a, b, at, stride, thirds, halves, accumulate))
            if last and epilogue != 0:
                table = address(extras, 0, 0)
                call_at(epilogue, (element, at, stride, height, n, i0 + i, j0, item, table))
            if not in_place:
                _deliver(edge, c, i, height, flags, state)
        if last and state != ALL and fill.shape[0] > 0:
            _fill(c, i, height, widen(fill[0]), flags, state)
        a += panel


@inlined
def _fetch(
    c,  # in (m, n), n up to NR
    first,  # row of c
    rows,  # up to MR
    edge,  # inout (MR, NR)
    flags,  # in (MR, NR)
    state,
):
    whole = c.shape[1] == edge.shape[1]
    for i in range(rows):
        source, target, wanted = line(c, first + i, 0), line(edge, i, 0), line(flags, i, 0)
        if state == ALL:
            for j in range(c.shape[1]):
                target[j] = source[j]
        elif is_packed(source) and whole:
            _choose(packed(target), packed(source), packed(wanted), edge.shape[1])
        else:
            _choose(target, source, wanted, c.shape[1])


@inlined
def _deliver(
    edge,  # in (MR, NR)
    c,  # inout (m, n), n up to NR
    first,  # row of c
    rows,  # up to MR
    flags,  # in (MR, NR)
    state,
):
    cols = c.shape[1]
    for i in range(rows):
        target, found, wanted = line(c, first + i, 0), line(edge, i, 0), line(flags, i, 0)
        if state == ALL:
            for j in range(cols):
                target[j] = found[j]
        elif is_packed(target) and cols == edge.shape[1]:
            _choose(packed(target), packed(found), packed(wanted), edge.shape[1])
        else:
            _choose(target, found, wanted, cols)


@inlined
def _choose(c, new, wanted, length):
    for j in range(length):
        c[j] = new[j] if wanted[j] else c[j]


@inlined
def _fill(
    c,  # out (m, n), n up to NR
    first,  # row of c
    rows,  # up to MR
    value,
    flags,  # in (MR, NR)
    state,
):
    for i in range(rows):
        target, kept = line(c, first + i, 0), line(flags, i, 0)
        if state == NONE and is_packed(target):
            _fill_all(packed(target), value, c.shape[1])
        elif is_packed(target) and c.shape[1] == flags.shape[1]:
            _fill_others(packed(target), packed(kept), value, flags.shape[1])
        else:
            for j in range(c.shape[1]):
                if state == NONE or not kept[j]:
                    target[j] = value


@inlined
def _fill_others(c, kept, value, length):
    for j in range(length):
        c[j] = c[j] if kept[j] else value


@inlined
def _fill_all(c, value, length):
    for j in range(length):
        c[j] = value
