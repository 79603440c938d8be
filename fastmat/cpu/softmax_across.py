"""Softmax and its kin of groups that lie side by side, line by line across them."""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.elementary import exp
from fastmat.core.inline import always_inlined
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import BLOCK_LINES, FUSED_LINES, LANES, TASK
from fastmat.cpu.blocks import load_block, place, store_block
from fastmat.cpu.combine import combine_sums, log_of_sum, write_logs
from fastmat.cpu.groups import FLOATS, softmax_types, threads_for, with_mask
from fastmat.cpu.kinds import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from fastmat.cpu.lines import finish_stores, is_streamed, own
from fastmat.cpu.masked_lines import erased_block, mask_block, room_for_masks
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.views import part


@kernel(softmax_types, FLOATS)
def softmax_across(
    x,  # in (o, i, p, r, q), not empty
    out,  # out (o, i, p, r, q), may be x; for LOGSUMEXP (o, i, 1, 1, 1)
    kind,  # what to compute
):
    """Softmax or its kin of each group."""
    _softmax(x, None, out, kind)


@kernel(with_mask(softmax_types), FLOATS)
def masked_softmax_across(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    out,  # out (o, i, p, r, q), may be x; for LOGSUMEXP (o, i, 1, 1, 1)
    kind,  # what to compute
):
    """The same of the numbers whose mask is True; the others count as -inf."""
    _softmax(x, mask, out, kind)


@always_inlined
def _softmax(x, mask, out, kind):
    groups = x.shape[0] * x.shape[1]
    n = x.size // groups
    threads = threads_for(x)
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    if n <= FUSED_LINES:
        several = max(1, TASK // (n * LANES))
        buffers = scratch((threads, 1, (n + 1) * LANES), sum_dtype(x.dtype))
        room = room_for_masks(mask, threads, n * LANES, types.uint8)
        args = (x, mask, out, kind, several, buffers, room)
        parallel_for(_blocks, ceil_div(blocks, several), threads, args)
        return
    pieces = ceil_div(n, BLOCK_LINES)
    buffers = scratch((threads, 1, (BLOCK_LINES + 1) * LANES), sum_dtype(x.dtype))
    found = scratch((2, groups, pieces), types.float64)
    room = room_for_masks(mask, threads, BLOCK_LINES * LANES, types.uint8)
    parallel_for(_measure_blocks, blocks * pieces, threads, (x, mask, found, buffers, room))
    combine_sums(found)
    if kind == LOGSUMEXP:
        write_logs(found, out)
    else:
        args = (x, mask, out, kind, found, buffers, room)
        parallel_for(_write_blocks, blocks * pieces, threads, args)


@task
def _blocks(args, slot, index):
    x, mask, out, kind, several, buffers, room = args
    n = x.shape[2] * x.shape[3] * x.shape[4]
    numbers = own(buffers, slot, 0)
    largest, total = scratch(LANES, sum_dtype(x.dtype)), scratch(LANES, types.float64)
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    for block in range(index * several, min((index + 1) * several, blocks)):
        o, i, width = place(x, block)
        at = o, i, width, 0, n
        load_block(x, *at, numbers)
        kept = mask_block(mask, x.shape, at, room, slot)
        erased_block(kept, numbers, n, narrow(-np.inf, numbers.dtype))
        _of_block(numbers, n, kind == SOFTMAX, largest, total)
        if kind == LOGSUMEXP:
            for k in range(width):
                log = log_of_sum(np.float64(largest[k]), total[k])
                out[o, i + k, 0, 0, 0] = narrow(log, out.dtype)
            continue
        _finish_block(numbers, n, kind, largest, total, kind == SOFTMAX)
        _erase_block(kept, numbers, n, kind, total)
        store_block(numbers, out, *at, is_streamed(out))
    finish_stores(out)


@task
def _measure_blocks(args, slot, index):
    x, mask, found, buffers, room = args
    block, piece = index // found.shape[2], index % found.shape[2]
    o, i, width = place(x, block)
    first = piece * BLOCK_LINES
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    numbers = own(buffers, slot, 0)
    largest, total = scratch(LANES, sum_dtype(x.dtype)), scratch(LANES, types.float64)
    at = o, i, width, first, lines
    load_block(x, *at, numbers)
    kept = mask_block(mask, x.shape, at, room, slot)
    erased_block(kept, numbers, lines, narrow(-np.inf, numbers.dtype))
    _of_block(numbers, lines, False, largest, total)
    for k in range(width):
        g = o * x.shape[1] + i + k
        found[0, g, piece] = largest[k]
        found[1, g, piece] = 0.0 if largest[k] == -np.inf else total[k]


@task
def _write_blocks(args, slot, index):
    x, mask, out, kind, found, buffers, room = args
    block, piece = index // found.shape[2], index % found.shape[2]
    o, i, width = place(x, block)
    first = piece * BLOCK_LINES
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    numbers = own(buffers, slot, 0)
    largest, total = scratch(LANES, sum_dtype(x.dtype)), scratch(LANES, types.float64)
    at = o, i, width, first, lines
    load_block(x, *at, numbers)
    kept = mask_block(mask, x.shape, at, room, slot)
    erased_block(kept, numbers, lines, narrow(-np.inf, numbers.dtype))
    for k in range(LANES):
        g = o * x.shape[1] + i + min(k, width - 1)
        largest[k], total[k] = narrow(found[0, g, 0], largest.dtype), found[1, g, 0]
    _finish_block(numbers, lines, kind, largest, total, False)
    _erase_block(kept, numbers, lines, kind, total)
    store_block(numbers, out, *at, is_streamed(out))
    finish_stores(out)


@always_inlined
def _of_block(
    block,  # inout (lines * LANES,); becomes exp(x - largest) if `keep`
    lines,
    keep,
    largest,  # out (LANES,)
    total,  # out (LANES,)
):
    """Largest number, and sum of exponentials relative to it, of groups side by side."""
    for k in range(LANES):
        largest[k], total[k] = block[k], 0
    for j in range(1, lines):
        for k in range(LANES):
            number, top = block[j * LANES + k], largest[k]
            # what is not a number stays the largest, and becomes it
            largest[k] = top if top >= number or top != top else number
    for j in range(lines):
        for k in range(LANES):
            found = exp(block[j * LANES + k] - largest[k])
            total[k] += np.float64(found)
            if keep:
                block[j * LANES + k] = found


@always_inlined
def _finish_block(block, lines, kind, largest, total, kept):
    """exp(x - largest) / total, or its logarithm, for groups side by side."""
    scale = part(block, lines * LANES, (lines + 1) * LANES)
    for k in range(LANES):
        if kind == SOFTMAX:
            scale[k] = narrow(1 / total[k], scale.dtype)
        else:
            scale[k] = narrow(math.log(total[k]), scale.dtype)
    for j in range(lines):
        for k in range(LANES):
            number = block[j * LANES + k]
            if kind == LOG_SOFTMAX:
                block[j * LANES + k] = (number - largest[k]) - scale[k]
            elif kept:
                block[j * LANES + k] = number * scale[k]
            else:
                block[j * LANES + k] = exp(number - largest[k]) * scale[k]


@always_inlined
def _erase_block(kept, block, lines, kind, total):
    """Keep the NaN of a group from what is masked."""
    strange = False
    for k in range(LANES):
        strange |= not total[k] > 0
    if strange:
        masked = narrow(0 if kind == SOFTMAX else -np.inf, block.dtype)
        erased_block(kept, block, lines, masked)
