"""Softmax and its kin of groups that lie along the last axis, chunk by chunk."""

import math

import numpy as np
from numba import types

from fastmat.core.compile import kernel
from fastmat.core.elementary import exp, maximum
from fastmat.core.inline import always_inlined, reducing
from fastmat.core.mathfn import narrow
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK, PIECE, TASK
from fastmat.cpu.combine import combine_sums, joined, log_of_sum, write_logs
from fastmat.cpu.groups import FLOATS, chunk, chunks, softmax_types, threads_for, with_mask
from fastmat.cpu.kinds import LOGSUMEXP, SOFTMAX
from fastmat.cpu.lines import finish_stores, is_streamed, own, store
from fastmat.cpu.masks import erased, loaded_where, mask_chunk
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.views import part


@kernel(softmax_types, FLOATS)
def softmax_along(
    x,  # in (o, i, p, r, q), not empty
    out,  # out (o, i, p, r, q), may be x; for LOGSUMEXP (o, i, 1, 1, 1)
    kind,  # what to compute
):
    """Softmax or its kin of each group."""
    _softmax(x, None, out, kind)


@kernel(with_mask(softmax_types), FLOATS)
def masked_softmax_along(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    out,  # out (o, i, p, r, q), may be x; for LOGSUMEXP (o, i, 1, 1, 1)
    kind,  # what to compute
):
    """The same of the numbers whose mask is True; the others count as -inf."""
    _softmax(x, mask, out, kind)


@always_inlined
def _softmax(x, mask, out, kind):
    groups, count = x.shape[0] * x.shape[1], chunks(x)
    threads = threads_for(x)
    buffers = scratch((threads, 2, CHUNK), sum_dtype(x.dtype))
    if count <= PIECE:
        several = max(1, TASK * groups // x.size)
        args = (x, mask, out, kind, several, buffers)
        parallel_for(_groups, ceil_div(groups, several), threads, args)
        return
    pieces = ceil_div(count, PIECE)
    found = scratch((2, groups, pieces), types.float64)
    parallel_for(_measure_pieces, groups * pieces, threads, (x, mask, found, buffers))
    combine_sums(found)
    if kind == LOGSUMEXP:
        write_logs(found, out)
    else:
        args = (x, mask, out, kind, found, buffers)
        parallel_for(_write_pieces, groups * pieces, threads, args)


@task
def _groups(args, slot, index):
    x, mask, out, kind, several, buffers = args
    count = chunks(x)
    for g in range(index * several, min((index + 1) * several, x.shape[0] * x.shape[1])):
        o, i = g // x.shape[1], g % x.shape[1]
        if count == 1 and kind == SOFTMAX:
            _one_chunk(x, mask, out, o, i, buffers, slot)
            continue
        largest, total = _of_chunks(x, mask, o, i, 0, count, buffers, slot)
        if kind == LOGSUMEXP:
            out[o, i, 0, 0, 0] = narrow(log_of_sum(largest, total), out.dtype)
            continue
        for c in range(count):
            _write_chunk(x, mask, out, o, i, c, kind, largest, total, buffers, slot)
    finish_stores(out)


@always_inlined
def _numbers_of(x, mask, o, i, c, buffers, slot):
    """A chunk of a group, with -inf in place of what is masked, and its mask."""
    buffer, kept = own(buffers, slot, 0), mask_chunk(mask, o, i, c, x.shape)
    numbers = loaded_where(kept, chunk(x, o, i, c, x.shape), buffer, narrow(-np.inf, buffer.dtype))
    return numbers, kept


@always_inlined
def _one_chunk(x, mask, out, o, i, buffers, slot):
    """A softmax whose exponentials are computed once."""
    numbers, kept = _numbers_of(x, mask, o, i, 0, buffers, slot)
    result = part(own(buffers, slot, 1), 0, numbers.shape[0])
    largest = _largest(numbers)
    total = _exponentials(numbers, largest, result)
    _scale(result, narrow(1 / total, result.dtype))
    if not total > 0:  # NaN, which must not reach what is masked
        erased(kept, result, narrow(0, result.dtype))
    store(result, chunk(out, o, i, 0, x.shape), is_streamed(out))


@always_inlined
def _of_chunks(x, mask, o, i, first, last, buffers, slot):
    """Largest number, and sum of exponentials relative to it, of some chunks of a group."""
    largest, total = -np.inf, 0.0
    for c in range(first, last):
        numbers, _ = _numbers_of(x, mask, o, i, c, buffers, slot)
        result = part(own(buffers, slot, 1), 0, numbers.shape[0])
        here = _largest(numbers)
        sum_here = 0.0 if here == -np.inf else _exponentials(numbers, here, result)
        if c == first:
            largest, total = np.float64(here), sum_here
        else:
            largest, total = joined(largest, total, np.float64(here), sum_here)
    return largest, total


@always_inlined
def _write_chunk(x, mask, out, o, i, c, kind, largest, total, buffers, slot):
    numbers, kept = _numbers_of(x, mask, o, i, c, buffers, slot)
    result = part(own(buffers, slot, 1), 0, numbers.shape[0])
    top = narrow(largest, result.dtype)
    if kind == SOFTMAX:
        _exponentials(numbers, top, result)
        _scale(result, narrow(1 / total, result.dtype))
    else:
        shift = narrow(math.log(total), result.dtype)
        for j in range(result.shape[0]):
            result[j] = (numbers[j] - top) - shift
    if not total > 0:  # NaN, which must not reach what is masked
        erased(kept, result, narrow(0 if kind == SOFTMAX else -np.inf, result.dtype))
    store(result, chunk(out, o, i, c, x.shape), is_streamed(out))


@reducing
def _largest(x):
    """The largest number; NaN if there is one."""
    largest = x[0]
    for j in range(x.shape[0]):
        largest = maximum(largest, x[j])
    return largest


@reducing
def _exponentials(
    x,  # in (n,)
    largest,
    y,  # out (n,)
):
    """y = exp(x - largest), and its sum: in two loops, for one of two widths is not SIMD."""
    for j in range(y.shape[0]):
        y[j] = exp(x[j] - largest)
    total = 0.0
    for j in range(y.shape[0]):
        total += np.float64(y[j])
    return total


@always_inlined
def _scale(y, factor):
    for j in range(y.shape[0]):
        y[j] *= factor


@task
def _measure_pieces(args, slot, index):
    x, mask, found, buffers = args
    g, piece = index // found.shape[2], index % found.shape[2]
    first, last = piece * PIECE, min((piece + 1) * PIECE, chunks(x))
    o, i = g // x.shape[1], g % x.shape[1]
    found[0, g, piece], found[1, g, piece] = _of_chunks(x, mask, o, i, first, last, buffers, slot)


@task
def _write_pieces(args, slot, index):
    x, mask, out, kind, found, buffers = args
    g, piece = index // found.shape[2], index % found.shape[2]
    o, i = g // x.shape[1], g % x.shape[1]
    for c in range(piece * PIECE, min((piece + 1) * PIECE, chunks(x))):
        _write_chunk(x, mask, out, o, i, c, kind, found[0, g, 0], found[1, g, 0], buffers, slot)
    finish_stores(out)
