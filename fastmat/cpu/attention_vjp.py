"""Gradients of attention by queries, keys and values.

With scores s = scale * q @ k.T, p = exp(s - logsumexp) and the cotangent g,

    ds = p * (g @ v.T - sum(g * result))
    dq = scale * ds @ k,    dk = scale * ds.T @ q,    dv = p.T @ g

computed block by block as in the forward operation (Dao et al., 2022, arXiv:2205.14135, appendix
B.2). A task owns what it writes: some queries, block by block of keys; then some keys, block by
block of queries. So scores are computed twice, and the bits do not depend on threads.
"""

import numpy as np
from numba import types

from fastmat.core.compile import call, kernel, reads, writes
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import accumulator, boolean, narrow, widen
from fastmat.core.process import num_threads
from fastmat.cpu.attention_masks import (
    NOTHING,
    add,
    hidden_part,
    hide,
    visible_part,
)
from fastmat.cpu.attention_panels import (
    add_columns_by_panel,
    as_line,
    exponentials,
    finite,
    multiply,
    multiply_rows_by_panel,
    pack_columns,
    pack_panel,
    pack_rows,
    padded,
    plane,
    weight,
)
from fastmat.cpu.blocking import ceil_div, tile_cols, tile_rows
from fastmat.cpu.blocking_attention import KEYS, PACKED, PANELS, SERIAL_SCORES
from fastmat.cpu.groups import FLOATS
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch
from fastmat.cpu.views import part, transposed


def _types(t):
    inputs = [reads(t, 4)] * 5
    masks = reads(boolean, 4), reads(accumulator(t), 4)
    outputs = [writes(accumulator(t), 4)] * 3
    how = types.boolean, types.float64
    return *inputs, reads(types.float64, 3), *masks, *outputs, *how


@kernel(_types, FLOATS, from_python=True)
def attention_vjp(
    g,  # in (o, h, m, width), not empty
    q,  # in (o, h, m, depth)
    k,  # in (o, h, n, depth), not empty
    v,  # in (o, h, n, width)
    result,  # in (o, h, m, width)
    logsumexp,  # in (o, h, m)
    mask,  # in (o, h, m, n), or without items if there is none
    additive,  # in (o, h, m, n), or without items if there is none
    dq,  # out (o, h, m, depth)
    dk,  # out (o, h, n, depth)
    dv,  # out (o, h, n, width)
    causal,
    scale,
):
    """The gradients, each in full: sums over axes that were broadcast are left to the caller."""
    outer, heads, m, depth = q.shape
    work = outer * heads * m * v.shape[2] * (depth + v.shape[3])
    threads = num_threads() if work > SERIAL_SCORES else 1
    delta = scratch((outer, heads, m), types.float64)
    parallel_for(_sum_products, outer * heads, threads, (g, result, delta))
    statistics = logsumexp, delta
    masks = mask, additive
    turned = transposed(mask), transposed(additive)
    call(side, q.dtype, (q, g, k, v, *statistics, *masks, dq, dv, causal, scale, True, threads))
    call(side, q.dtype, (k, v, q, g, *statistics, *turned, dk, dv, causal, scale, False, threads))


@task
def _sum_products(args, slot, index):
    """The sums of g * result for the queries of one head."""
    g, result, delta = args
    o, h = index // g.shape[1], index % g.shape[1]
    cotangent, found = plane(g, o, h), plane(result, o, h)
    for i in range(found.shape[0]):
        total = 0.0
        for e in range(found.shape[1]):
            total += np.float64(widen(cotangent[i, e])) * np.float64(widen(found[i, e]))
        delta[o, h, i] = total


def _side_types(t):
    inputs, sums = [reads(t, 4)] * 4, [writes(accumulator(t), 4)] * 2
    statistics = [reads(types.float64, 3)] * 2
    masks = reads(boolean, 4), reads(accumulator(t), 4)
    how = types.boolean, types.float64, types.boolean, types.intp
    return *inputs, *statistics, *masks, *sums, *how


@kernel(_side_types, FLOATS)
def side(
    a,  # in (o, h, m, depth): queries or keys, for the gradients of which this is
    a_other,  # in (o, h, m, width): cotangents or values
    b,  # in (o, h, n, depth): keys or queries
    b_other,  # in (o, h, n, width): values or cotangents
    logsumexp,  # in (o, h, queries)
    delta,  # in (o, h, queries): sums of cotangent * result
    mask,  # in (o, h, m, n), or without items if there is none
    additive,  # in (o, h, m, n), or without items if there is none
    da,  # out (o, h, m, depth)
    da_other,  # out (o, h, m, width), of values only
    causal,
    scale,
    by_query,  # whether a are queries
    threads,
):
    """Gradients by queries, or by keys and values."""
    (outer, heads, m, depth), (n, width) = a.shape, b_other.shape[2:]
    element, real = a.dtype, scalar_dtype(a.dtype)
    columns, height = tile_cols(element), padded(KEYS, element)
    share = heads if b.strides[1] == 0 and b_other.strides[1] == 0 else 1
    sizes = (
        padded(n, element) * depth,
        padded(n, element) * width,
        n * padded(depth, element),
        0 if by_query else n * padded(width, element),
    )
    several = PACKED // (max(1, sizes[0] + sizes[1] + sizes[2] + sizes[3]) * da.itemsize)
    several = max(1, min(several, outer * heads // share))
    packed = (
        scratch((several, sizes[0]), real),
        scratch((several, sizes[1]), real),
        scratch((several, sizes[2]), real),
        scratch((several, sizes[3]), real),
        scratch((several, 2, ceil_div(n, KEYS)), types.uint8),
    )
    panels = ceil_div(m, columns)
    per_task = min(PANELS, max(1, panels * several * share // (2 * threads)))
    tasks = ceil_div(panels, per_task)
    own = (
        scratch((threads, per_task * depth * columns), real),
        scratch((threads, per_task * width * columns), real),
        scratch((threads, per_task * padded(depth, element), columns), real),
        scratch((threads, 0 if by_query else per_task * padded(width, element), columns), real),
        scratch((threads, height, columns), real),
        scratch((threads, height, columns), real),
        scratch((threads, 2, max(KEYS, columns)), real),
        scratch((threads, tile_rows(element), columns), real),
        scratch((threads, KEYS * columns if mask.size else 0), types.uint8),
        scratch((threads, KEYS * columns if additive.size else 0), real),
    )
    how = causal, scale, by_query
    for first in range(0, outer * heads // share, several):
        count = min(several, outer * heads // share - first)
        where = first * share, share, per_task, tasks
        parallel_for(_pack, count * ceil_div(n, KEYS), threads, (b, b_other, packed, how, where))
        inputs = a, a_other, logsumexp, delta, mask, additive
        args = inputs, (da, da_other), (n, packed), how, where, own
        parallel_for(_differentiate, count * share * tasks, threads, args)


@task
def _pack(args, slot, index):
    """A block of keys and values, or of queries and cotangents."""
    b, b_other, packed, (_, scale, by_query), (first, share, _, _) = args
    n, depth, width, element = b.shape[2], b.shape[3], b_other.shape[3], b.dtype
    blocks = ceil_div(n, KEYS)
    item, j = index // blocks, index % blocks * KEYS
    head = first + item * share
    o, h = head // b.shape[1], head % b.shape[1]
    rows = part(plane(b, o, h), j, j + KEYS, 0, depth)
    others = part(plane(b_other, o, h), j, j + KEYS, 0, width)
    stop, end = j + rows.shape[0], padded(j + rows.shape[0], element)
    in_rows = part(packed[0][item], j * depth, end * depth)
    in_columns = part(packed[2][item], j * padded(depth, element), stop * padded(depth, element))
    pack_rows(rows, in_rows)
    pack_columns(rows, in_columns)
    packed[4][item, 0, index % blocks] = finite(in_columns)
    pack_rows(others, part(packed[1][item], j * width, end * width))
    if not by_query:
        multiply(in_rows, scale)
        multiply(in_columns, scale)
        height = padded(width, element)
        others_in_columns = part(packed[3][item], j * height, stop * height)
        pack_columns(others, others_in_columns)
        packed[4][item, 1, index % blocks] = finite(others_in_columns)


@task
def _differentiate(args, slot, index):
    """A few panels of queries or keys of a head, first those that most of the others belong to."""
    inputs, outputs, (n, packed), (causal, scale, by_query), where, own = args
    a, a_other, logsumexp, delta, mask, additive = inputs
    first, share, per_task, tasks = where
    element, columns, (m, depth) = a.dtype, tile_cols(a.dtype), a.shape[2:]
    width = a_other.shape[3]
    head, item = first + index // tasks, index // tasks // share
    o, h = head // a.shape[1], head % a.shape[1]
    turn = index % tasks
    start = (tasks - 1 - turn if by_query else turn) * per_task * columns
    stop = min(m, start + per_task * columns)
    state = own[0][slot], own[1][slot], own[2][slot], own[3][slot]
    _pack_side(plane(a, o, h), start, stop, scale if by_query else 1.0, state[0])
    _pack_side(plane(a_other, o, h), start, stop, 1.0, state[1])
    _clear(state[2])
    _clear(state[3])
    masks = plane(mask, o, h), plane(additive, o, h)
    work = own[4][slot], own[5][slot], own[6][slot], own[7][slot], own[8][slot], own[9][slot]
    size, rows = state[0].itemsize, tile_rows(element)
    tall, wide = padded(depth, element), padded(width, element)
    for j in range(0, n, KEYS):
        lines = min(KEYS, n - j)
        block = (
            packed[0][item].ctypes.data + j * depth * size,
            packed[1][item].ctypes.data + j * width * size,
            part(packed[2][item], j * tall, (j + lines) * tall),
            part(packed[3][item], j * wide, (j + lines) * wide),
            packed[4][item, 0, j // KEYS] != 0,
            packed[4][item, 1, j // KEYS] != 0,
        )
        for i in range(start, stop, columns):
            skipped, seen = 0, lines
            if causal and by_query:
                seen = min(lines, i + columns - j)
            elif causal:
                skipped = max(0, i - j) // rows * rows
                seen = lines - skipped
            if seen > 0:
                which, shape = (i - start) // columns, (depth, width, lines)
                place = i, min(columns, m - i), j + skipped, seen
                from_here = (
                    block[0] + skipped * depth * size,
                    block[1] + skipped * width * size,
                    part(block[2], skipped * rows, lines * tall),
                    part(block[3], skipped * rows, lines * wide),
                    block[4],
                    block[5],
                )
                _load_statistics(logsumexp, delta, o, h, place, by_query, work[2])
                _add_block(
                    element, from_here, shape, masks, (causal, by_query), place, which, state, work
                )
    _finish(plane(outputs[0], o, h), start, stop, scale if by_query else 1.0, state[2])
    if not by_query:
        _finish(plane(outputs[1], o, h), start, stop, 1.0, state[3])


@inlined
def _pack_side(
    a,  # in (m, depth)
    start,  # the first row
    stop,
    scale,
    target,  # out, panels (depth, NR)
):
    columns = tile_cols(a.dtype)
    size = a.shape[1] * columns
    for i in range(start, stop, columns):
        at = (i - start) // columns * size
        panel = part(target, at, at + size)
        pack_panel(part(a, 0, stop, 0, a.shape[1]), i, panel)
        if scale != 1:
            multiply(panel, scale)


@inlined
def _clear(
    sums,  # out (rows, NR)
):
    for e in range(sums.shape[0]):
        for c in range(sums.shape[1]):
            sums[e, c] = 0


@inlined
def _load_statistics(
    logsumexp,  # in (o, h, queries)
    delta,  # in (o, h, queries)
    o,
    h,
    place,  # the first column, how many there are; the first line, how many there are
    by_query,
    statistics,  # out (2, columns or lines)
):
    """Of the queries in the columns, or in the lines; 0 for columns beyond the last.

    A query that sees no key has scores of -inf throughout: exponentials relative to 0 are 0.
    """
    i, columns, j, lines = place
    first, count = (i, columns) if by_query else (j, lines)
    for c in range(count):
        shift = logsumexp[o, h, first + c]
        statistics[0, c] = narrow(0.0 if shift == -np.inf else shift, statistics.dtype)
        statistics[1, c] = narrow(delta[o, h, first + c], statistics.dtype)
    if by_query:
        for c in range(columns, tile_cols(statistics.dtype)):
            statistics[0, c] = statistics[1, c] = 0


@inlined
def _add_block(
    element,
    block,  # in: addresses of rows of b and b_other; columns of these, and whether they are finite
    shape,  # (depth, width, lines of the block)
    masks,  # boolean and additive
    how,  # (causal, by_query)
    place,  # the first column, how many there are; the first line, how many there are
    which,  # number of the panel of columns in this task
    state,  # inout: packed a and a_other; sums of their gradients
    work,  # scratch; statistics of the queries
):
    """Take a block of lines into account for one panel of columns."""
    (depth, width, lines), (i, wanted, j, seen), (causal, by_query) = shape, place, how
    scores, slopes, statistics, edge, flags, more = work
    columns, size = tile_cols(element), scores.itemsize
    visible = visible_part(masks[0], i, wanted, j, seen, columns, flags)
    if visible == NOTHING:
        return
    packed = state[0].ctypes.data + which * depth * columns * size
    other = state[1].ctypes.data + which * width * columns * size
    multiply_rows_by_panel(element, depth, block[0], packed, seen, scores, edge)
    multiply_rows_by_panel(element, width, block[1], other, seen, slopes, edge)
    p, ds = as_line(scores), as_line(slopes)
    add(masks[1], i, wanted, j, seen, p, more)
    hidden = hidden_part(visible, causal, place, columns, by_query)
    shift, delta = statistics[0], statistics[1]
    if by_query:
        exponentials(p, seen, shift)
        hide(p, flags, hidden, seen, 0.0)
        _slopes_by_column(ds, p, seen, delta)
    else:
        _exponentials_by_line(p, seen, shift)
        hide(p, flags, hidden, seen, 0.0)
        operands = element, block[3], block[5], lines, p, seen
        first = which * padded(width, element)
        add_columns_by_panel(*operands, first, state[3], width, edge, flags, hidden)
        _slopes_by_line(ds, p, seen, delta)
    hide(ds, flags, hidden, seen, 0.0)
    operands = element, block[2], block[4], lines, ds, seen
    first = which * padded(depth, element)
    add_columns_by_panel(*operands, first, state[2], depth, edge, flags, hidden)


@always_inlined
def _slopes_by_column(
    slopes,  # inout (lines * NR or more,)
    p,  # in (lines * NR or more,)
    lines,
    delta,  # in (NR,)
):
    width = tile_cols(p.dtype)
    for j in range(lines):
        for c in range(width):
            slopes[j * width + c] = p[j * width + c] * (slopes[j * width + c] - delta[c])


@always_inlined
def _slopes_by_line(
    slopes,  # inout (lines * NR or more,)
    p,  # in (lines * NR or more,)
    lines,
    delta,  # in (lines,)
):
    width = tile_cols(p.dtype)
    for j in range(lines):
        for c in range(width):
            slopes[j * width + c] = p[j * width + c] * (slopes[j * width + c] - delta[j])


@always_inlined
def _exponentials_by_line(
    panel,  # inout (lines * NR or more,)
    lines,
    shift,  # in (lines,)
):
    width = tile_cols(panel.dtype)
    for j in range(lines):
        for c in range(width):
            panel[j * width + c] = weight(panel[j * width + c] - shift[j])


@inlined
def _finish(
    out,  # out (m, depth)
    start,
    stop,
    scale,
    sums,  # in (panels * padded(depth), NR)
):
    columns, factor = tile_cols(out.dtype), narrow(scale, out.dtype)
    height = padded(out.shape[1], out.dtype)
    for i in range(start, stop):
        c, first = (i - start) % columns, (i - start) // columns * height
        for e in range(out.shape[1]):
            out[i, e] = sums[first + e, c] * factor
