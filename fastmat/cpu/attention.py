"""Scaled dot-product attention: scores are computed, made exponentials, and used up in blocks.

Dao, Fu, Ermon, Rudra and Ré, "FlashAttention: fast and memory-efficient exact attention with
IO-awareness", 2022, arXiv:2205.14135; the largest score of a query and the sum of its exponentials
are kept up to date from block to block (Milakov and Gimelshein, 2018, arXiv:1805.02867). A task
works on a few panels of queries, block by block of keys, in this order: so the bits do not depend
on threads.
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.elementary import exp
from fastmat.core.inline import inlined
from fastmat.core.mathfn import accumulator, boolean, narrow
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
)
from fastmat.cpu.blocking import ceil_div, tile_cols, tile_rows
from fastmat.cpu.blocking_attention import KEYS, PACKED, PANELS, SERIAL_SCORES
from fastmat.cpu.groups import FLOATS
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch
from fastmat.cpu.simd_columns import add_columns, largest_of_columns, scale_columns
from fastmat.cpu.views import address, part


def _types(t):
    masks = reads(boolean, 4), reads(accumulator(t), 4)
    results = writes(t, 4), writes(types.float64, 3)
    return reads(t, 4), reads(t, 4), reads(t, 4), *masks, *results, types.boolean, types.float64


@kernel(_types, FLOATS, from_python=True)
def attention(
    q,  # in (o, h, m, depth), not empty
    k,  # in (o, h, n, depth)
    v,  # in (o, h, n, width)
    mask,  # in (o, h, m, n), or without items if there is none
    additive,  # in (o, h, m, n), or without items if there is none
    out,  # out (o, h, m, width)
    logsumexp,  # out (o, h, m)
    causal,  # whether query i sees keys up to i only
    scale,
):
    """out = softmax(scale * q @ k.T + additive) @ v, and the logarithms of the sums."""
    (outer, heads, m, depth), (n, width) = q.shape, v.shape[2:]
    element, real = q.dtype, scalar_dtype(q.dtype)
    columns, rows = tile_cols(element), tile_rows(element)
    threads = num_threads() if outer * heads * m * n * (depth + width) > SERIAL_SCORES else 1
    share = heads if k.strides[1] == 0 and v.strides[1] == 0 else 1
    of_keys, of_values = padded(n, element) * depth, n * padded(width, element)
    several = PACKED // (max(1, of_keys + of_values) * out.itemsize)
    several = max(1, min(several, outer * heads // share))
    blocks = ceil_div(n, KEYS)
    packed = (
        scratch((several, of_keys), real),
        scratch((several, of_values), real),
        scratch((several, blocks), types.uint8),
    )
    panels = ceil_div(m, columns)
    per_task = min(PANELS, max(1, panels * several * share // (2 * threads)))
    tasks = ceil_div(panels, per_task)
    own = (
        scratch((threads, per_task * depth * columns), real),
        scratch((threads, per_task * padded(width, element), columns), real),
        scratch((threads, per_task * columns), real),
        scratch((threads, per_task * columns), types.float64),
        scratch((threads, 4, columns), real),
        scratch((threads, padded(KEYS, element), columns), real),
        scratch((threads, rows, columns), real),
        scratch((threads, KEYS * columns if mask.size else 0), types.uint8),
        scratch((threads, KEYS * columns if additive.size else 0), real),
    )
    for first in range(0, outer * heads // share, several):
        count = min(several, outer * heads // share - first)
        where = first * share, share, per_task, tasks, n
        parallel_for(_pack, count * blocks, threads, (k, v, packed, where))
        args = (q, mask, additive, out, logsumexp), packed, (causal, scale), where, own
        parallel_for(_attend, count * share * tasks, threads, args)


@task
def _pack(args, slot, index):
    """A block of keys, and of values."""
    k, v, (keys, values, are_finite), (first, share, _, _, _) = args
    n, depth, element = k.shape[2], k.shape[3], k.dtype
    blocks = ceil_div(n, KEYS)
    item, block = index // blocks, index % blocks
    head, j = first + item * share, block * KEYS
    o, h = head // k.shape[1], head % k.shape[1]
    some_keys = part(plane(k, o, h), j, j + KEYS, 0, depth)
    some_values = part(plane(v, o, h), j, j + KEYS, 0, v.shape[3])
    lines, width = some_keys.shape[0], padded(v.shape[3], element)
    pack_rows(some_keys, part(keys[item], j * depth, padded(j + lines, element) * depth))
    in_columns = part(values[item], j * width, (j + lines) * width)
    pack_columns(some_values, in_columns)
    are_finite[item, block] = finite(in_columns)


@task
def _attend(args, slot, index):
    """A few panels of queries of a head, the last ones first: with a causal mask these are long."""
    (q, mask, additive, out, logsumexp), (keys, values, are_finite), how, where, own = args
    (causal, scale), (first, share, per_task, tasks, n) = how, where
    element, columns, (m, depth) = q.dtype, tile_cols(q.dtype), q.shape[2:]
    head, item = first + index // tasks, index // tasks // share
    o, h = head // q.shape[1], head % q.shape[1]
    start = (tasks - 1 - index % tasks) * per_task * columns
    stop = min(m, start + per_task * columns)
    state = own[0][slot], own[1][slot], own[2][slot], own[3][slot]
    work = own[4][slot], own[5][slot], own[6][slot], own[7][slot], own[8][slot]
    _begin(plane(q, o, h), start, stop, scale, state)
    masks = plane(mask, o, h), plane(additive, o, h)
    width, height = out.shape[3], padded(out.shape[3], element)
    for j in range(0, n, KEYS):
        lines = min(KEYS, n - j)
        block = (
            keys[item].ctypes.data + j * depth * keys.itemsize,
            part(values[item], j * height, (j + lines) * height),
            are_finite[item, j // KEYS] != 0,
        )
        for i in range(start, stop, columns):
            seen = min(lines, i + columns - j) if causal else lines
            if seen > 0:
                place, which = (i, min(columns, m - i), j, seen), (i - start) // columns
                shape = depth, width, lines
                _add_block(element, block, shape, masks, causal, place, which, state, work)
    _finish(plane(out, o, h), o, h, logsumexp, start, stop, state)


@inlined
def _begin(
    q,  # in (m, depth)
    start,  # the first query
    stop,
    scale,
    state,  # out: packed queries, sums, largest scores, sums of exponentials
):
    queries, sums, top, total = state
    columns = tile_cols(q.dtype)
    size = q.shape[1] * columns
    for i in range(start, stop, columns):
        at = (i - start) // columns * size
        panel = part(queries, at, at + size)
        pack_panel(part(q, 0, stop, 0, q.shape[1]), i, panel)
        multiply(panel, scale)
    for c in range(top.shape[0]):
        top[c], total[c] = -np.inf, 0
    for e in range(sums.shape[0]):
        for c in range(columns):
            sums[e, c] = 0


@inlined
def _add_block(
    element,
    block,  # in: address of packed keys; packed values, and whether these are finite
    shape,  # (depth, width, lines of the block)
    masks,  # boolean and additive
    causal,
    place,  # the first query, how many there are; the first key, how many are seen
    which,  # number of the panel of queries in this task
    state,  # inout: packed queries, sums, largest scores, sums of exponentials
    work,  # scratch
):
    """Take a block of keys and values into account for one panel of queries."""
    (keys, values, are_finite), (depth, width, lines), (i, queries, j, seen) = block, shape, place
    lanes, scores, edge, flags, more = work
    columns, height = tile_cols(element), padded(width, element)
    visible = visible_part(masks[0], i, queries, j, seen, columns, flags)
    if visible == NOTHING:
        return
    packed = state[0].ctypes.data + which * depth * columns * scores.itemsize
    multiply_rows_by_panel(element, depth, keys, packed, seen, scores, edge)
    panel = as_line(scores)
    add(masks[1], i, queries, j, seen, panel, more)
    hidden = hidden_part(visible, causal, place, columns, True)
    hide(panel, flags, hidden, seen, -np.inf)
    at, first, sums = which * columns, which * height, state[1]
    top, total = part(state[2], at, at + columns), part(state[3], at, at + columns)
    if _exponentials(panel, seen, top, total, lanes):
        scale_columns(panel.dtype, address(sums, first, 0), height, lanes[1].ctypes.data)
    operands = element, values, are_finite, lines, panel, seen
    add_columns_by_panel(*operands, first, sums, width, edge, flags, hidden)


@inlined
def _exponentials(
    panel,  # inout (seen * NR or more,): scores, then exponentials
    seen,
    top,  # inout (NR,), largest scores
    total,  # inout (NR,), sums of exponentials
    lanes,  # scratch (3, NR); out: lanes[1] is what earlier exponentials are to be multiplied with
):
    """Exponentials relative to the largest scores so far; whether earlier ones change."""
    shift, factor, added = lanes[0], lanes[1], lanes[2]
    for c in range(top.shape[0]):
        factor[c], added[c] = top[c], 0
    largest_of_columns(panel.dtype, panel.ctypes.data, seen, top.ctypes.data)
    changed = False
    for c in range(top.shape[0]):
        shift[c] = narrow(0, panel.dtype) if top[c] == -np.inf else top[c]  # no key is seen
        changed |= factor[c] != shift[c]
        factor[c] = exp(factor[c] - shift[c])
    exponentials(panel, seen, shift)
    add_columns(panel.dtype, panel.ctypes.data, seen, added.ctypes.data)
    for c in range(top.shape[0]):
        total[c] = total[c] * factor[c] + added[c]
    return changed


@inlined
def _finish(
    out,  # out (m, width)
    o,
    h,
    logsumexp,  # out (o, h, m)
    start,
    stop,
    state,  # packed queries, sums, largest scores, sums of exponentials
):
    """Divide by the sums of exponentials. Queries that see no key get zeros."""
    _, sums, top, total = state
    columns = tile_cols(out.dtype)
    height = padded(out.shape[1], out.dtype)
    for i in range(start, stop):
        c, first = (i - start) % columns, (i - start) // columns * height
        if top[i - start] == -np.inf:
            logsumexp[o, h, i] = -np.inf
            for e in range(out.shape[1]):
                out[i, e] = narrow(0, out.dtype)
        else:
            logsumexp[o, h, i] = np.float64(top[i - start]) + math.log(total[i - start])
            inverse = narrow(1 / total[i - start], sums.dtype)
            for e in range(out.shape[1]):
                out[i, e] = narrow(sums[first + e, c] * inverse, out.dtype)
