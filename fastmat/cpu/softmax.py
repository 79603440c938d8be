"""Softmax, its logarithm, and the logarithm of the sum of exponentials, group by group.

Arrays come as ``(o, i, p, r, q)``, see `moments`. The largest number of a group is taken off
first, so that no exponential overflows; sums are held in float64. A group that stays in the
cache is read from memory once; of longer ones, largest number and sum of each piece are found
first, and the sums brought to a common scale (Milakov and Gimelshein, "Online normalizer
calculation for softmax", 2018, arXiv:1805.02867).
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.elementary import exp
from fastmat.core.inline import always_inlined, inlined, reducing
from fastmat.core.mathfn import narrow
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import (
    BLOCK_LINES,
    CHUNK,
    FUSED_LINES,
    LANES,
    PIECE,
    SERIAL,
    TASK,
)
from fastmat.cpu.kinds import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from fastmat.cpu.lines import is_streamed, loaded, own, store
from fastmat.cpu.moments import (
    FLOATS,
    chunk,
    chunks,
    is_across,
    load_block,
    place,
    store_block,
)
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.shuffle import store_fence
from fastmat.cpu.views import part


@kernel(lambda t: (reads(t, 5), writes(t, 5), types.intp), FLOATS, from_python=True)
def softmax(
    x,  # in (o, i, p, r, q), not empty
    out,  # out (o, i, p, r, q), may be x; for LOGSUMEXP (o, i, 1, 1, 1)
    kind,  # what to compute
):
    """exp(x) / sum(exp(x)), its logarithm, or log(sum(exp(x)))."""
    groups = x.shape[0] * x.shape[1]
    n = x.size // groups
    threads = num_threads() if x.size > SERIAL else 1
    if is_across(x):
        _across(x, out, kind, groups, n, threads)
    else:
        _along(x, out, kind, groups, n, threads)


@always_inlined
def _along(x, out, kind, groups, n, threads):
    """Groups whose numbers lie along the last axis."""
    count = chunks(x)
    buffers = scratch((threads, 2, CHUNK), sum_dtype(x.dtype))
    if count <= PIECE:
        several = max(1, TASK // n)
        args = (x, out, kind, several, buffers)
        parallel_for(_groups, ceil_div(groups, several), threads, args)
        return
    pieces = ceil_div(count, PIECE)
    found = scratch((2, groups, pieces), types.float64)
    parallel_for(_measure_pieces, groups * pieces, threads, (x, found, buffers))
    _combine(found)
    if kind == LOGSUMEXP:
        _write_logs(found, out)
    else:
        args = (x, out, kind, found, buffers)
        parallel_for(_write_pieces, groups * pieces, threads, args)


@always_inlined
def _across(x, out, kind, groups, n, threads):
    """Groups that lie side by side."""
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    if n <= FUSED_LINES:
        several = max(1, TASK // (n * LANES))
        buffers = scratch((threads, 1, (n + 1) * LANES), sum_dtype(x.dtype))
        args = (x, out, kind, several, buffers)
        parallel_for(_blocks, ceil_div(blocks, several), threads, args)
        return
    pieces = ceil_div(n, BLOCK_LINES)
    buffers = scratch((threads, 1, (BLOCK_LINES + 1) * LANES), sum_dtype(x.dtype))
    found = scratch((2, groups, pieces), types.float64)
    parallel_for(_measure_blocks, blocks * pieces, threads, (x, found, buffers))
    _combine(found)
    if kind == LOGSUMEXP:
        _write_logs(found, out)
    else:
        args = (x, out, kind, found, buffers)
        parallel_for(_write_blocks, blocks * pieces, threads, args)


@inlined
def _combine(
    found,  # inout (2, groups, pieces): largest number and sum of each piece, then of the group
):
    for g in range(found.shape[1]):
        largest, total = found[0, g, 0], found[1, g, 0]
        for piece in range(1, found.shape[2]):
            largest, total = _joined(largest, total, found[0, g, piece], found[1, g, piece])
        found[0, g, 0], found[1, g, 0] = largest, total


@inlined
def _joined(largest, total, largest2, total2):
    """Largest number and sum of two sets together."""
    if largest2 > largest:
        return largest2, total2 + _rescaled(total, largest - largest2)
    return largest, total + _rescaled(total2, largest2 - largest)


@inlined
def _rescaled(total, apart):
    return total if apart == 0 else total * math.exp(apart)


@inlined
def _log_of_sum(largest, total):
    """log(sum(exp(x))); infinities are what they are, and not the NaN of their difference."""
    if math.isinf(largest):
        return largest
    return largest + math.log(total)


@inlined
def _write_logs(found, out):
    for g in range(found.shape[1]):
        o, i = g // out.shape[1], g % out.shape[1]
        out[o, i, 0, 0, 0] = narrow(_log_of_sum(found[0, g, 0], found[1, g, 0]), out.dtype)


@task
def _groups(args, slot, index):
    x, out, kind, several, buffers = args
    count = chunks(x)
    for g in range(index * several, min((index + 1) * several, x.shape[0] * x.shape[1])):
        o, i = g // x.shape[1], g % x.shape[1]
        if count == 1 and kind == SOFTMAX:
            _one_chunk(x, out, o, i, buffers, slot)
            continue
        largest, total = _of_chunks(x, o, i, 0, count, buffers, slot)
        if kind == LOGSUMEXP:
            out[o, i, 0, 0, 0] = narrow(_log_of_sum(largest, total), out.dtype)
            continue
        for c in range(count):
            _write_chunk(x, out, o, i, c, kind, largest, total, buffers, slot)
    if is_streamed(out):
        store_fence()


@always_inlined
def _one_chunk(x, out, o, i, buffers, slot):
    """A softmax whose exponentials are computed once."""
    numbers = loaded(chunk(x, o, i, 0, x.shape), own(buffers, slot, 0))
    result = part(own(buffers, slot, 1), 0, numbers.shape[0])
    largest = _largest(numbers)
    total = _exponentials(numbers, largest, result)
    _scale(result, narrow(1 / total, result.dtype))
    store(result, chunk(out, o, i, 0, x.shape), is_streamed(out))


@always_inlined
def _of_chunks(x, o, i, first, last, buffers, slot):
    """Largest number, and sum of exponentials relative to it, of some chunks of a group."""
    largest, total = -np.inf, 0.0
    for c in range(first, last):
        numbers = loaded(chunk(x, o, i, c, x.shape), own(buffers, slot, 0))
        result = part(own(buffers, slot, 1), 0, numbers.shape[0])
        here = _largest(numbers)
        sum_here = _exponentials(numbers, here, result)
        if c == first:
            largest, total = np.float64(here), sum_here
        else:
            largest, total = _joined(largest, total, np.float64(here), sum_here)
    return largest, total


@always_inlined
def _write_chunk(x, out, o, i, c, kind, largest, total, buffers, slot):
    numbers = loaded(chunk(x, o, i, c, x.shape), own(buffers, slot, 0))
    result = part(own(buffers, slot, 1), 0, numbers.shape[0])
    top = narrow(largest, result.dtype)
    if kind == SOFTMAX:
        _exponentials(numbers, top, result)
        _scale(result, narrow(1 / total, result.dtype))
    else:
        shift = narrow(math.log(total), result.dtype)
        for j in range(result.shape[0]):
            result[j] = (numbers[j] - top) - shift
    store(result, chunk(out, o, i, c, x.shape), is_streamed(out))


@reducing
def _largest(x):
    """The largest number; NaN if there is one."""
    largest, strange = x[0], 0
    for j in range(x.shape[0]):
        largest = x[j] if x[j] > largest else largest
        strange |= x[j] != x[j]
    return narrow(np.nan, x.dtype) if strange else largest


@reducing
def _exponentials(
    x,  # in (n,)
    largest,
    y,  # out (n,)
):
    """y = exp(x - largest), and its sum."""
    total = 0.0
    for j in range(x.shape[0]):
        y[j] = exp(x[j] - largest)
        total += np.float64(y[j])
    return total


@always_inlined
def _scale(y, factor):
    for j in range(y.shape[0]):
        y[j] *= factor


@task
def _measure_pieces(args, slot, index):
    x, found, buffers = args
    g, piece = index // found.shape[2], index % found.shape[2]
    first, last = piece * PIECE, min((piece + 1) * PIECE, chunks(x))
    o, i = g // x.shape[1], g % x.shape[1]
    found[0, g, piece], found[1, g, piece] = _of_chunks(x, o, i, first, last, buffers, slot)


@task
def _write_pieces(args, slot, index):
    x, out, kind, found, buffers = args
    g, piece = index // found.shape[2], index % found.shape[2]
    o, i = g // x.shape[1], g % x.shape[1]
    for c in range(piece * PIECE, min((piece + 1) * PIECE, chunks(x))):
        _write_chunk(x, out, o, i, c, kind, found[0, g, 0], found[1, g, 0], buffers, slot)
    if is_streamed(out):
        store_fence()


@task
def _blocks(args, slot, index):
    x, out, kind, several, buffers = args
    n = x.shape[2] * x.shape[3] * x.shape[4]
    numbers = own(buffers, slot, 0)
    largest, total = scratch(LANES, sum_dtype(x.dtype)), scratch(LANES, types.float64)
    blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
    for block in range(index * several, min((index + 1) * several, blocks)):
        o, i, width = place(x, block)
        load_block(x, o, i, width, 0, n, numbers)
        _of_block(numbers, n, kind == SOFTMAX, largest, total)
        if kind == LOGSUMEXP:
            for k in range(width):
                log = _log_of_sum(np.float64(largest[k]), total[k])
                out[o, i + k, 0, 0, 0] = narrow(log, out.dtype)
            continue
        _finish_block(numbers, n, kind, largest, total, kind == SOFTMAX)
        store_block(numbers, out, o, i, width, 0, n, is_streamed(out))
    if is_streamed(out):
        store_fence()


@task
def _measure_blocks(args, slot, index):
    x, found, buffers = args
    block, piece = index // found.shape[2], index % found.shape[2]
    o, i, width = place(x, block)
    first = piece * BLOCK_LINES
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    numbers = own(buffers, slot, 0)
    largest, total = scratch(LANES, sum_dtype(x.dtype)), scratch(LANES, types.float64)
    load_block(x, o, i, width, first, lines, numbers)
    _of_block(numbers, lines, False, largest, total)
    for k in range(width):
        g = o * x.shape[1] + i + k
        found[0, g, piece], found[1, g, piece] = np.float64(largest[k]), total[k]


@task
def _write_blocks(args, slot, index):
    x, out, kind, found, buffers = args
    block, piece = index // found.shape[2], index % found.shape[2]
    o, i, width = place(x, block)
    first = piece * BLOCK_LINES
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    numbers = own(buffers, slot, 0)
    largest, total = scratch(LANES, sum_dtype(x.dtype)), scratch(LANES, types.float64)
    load_block(x, o, i, width, first, lines, numbers)
    for k in range(LANES):
        g = o * x.shape[1] + i + min(k, width - 1)
        largest[k], total[k] = narrow(found[0, g, 0], largest.dtype), found[1, g, 0]
    _finish_block(numbers, lines, kind, largest, total, False)
    store_block(numbers, out, o, i, width, first, lines, is_streamed(out))
    if is_streamed(out):
        store_fence()


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
