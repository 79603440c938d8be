"""Statistics of groups of numbers: mean and spread, sums of squares or magnitudes, the largest.

An array comes as ``(o, i, p, r, q)``: each (o, i) is a group, over p, r and q. They are held in
float64 and computed in two passes over a piece that stays in the cache, mean first, then squares
of deviations; pieces are combined in order (Chan, Golub and LeVeque, "Algorithms for computing
the sample variance", The American Statistician 37(3), 1983). Pieces are cut by shape alone, so
the bits do not depend on threads.
"""

import numpy as np
from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import always_inlined, inlined, reducing
from fastmat.core.mathfn import narrow, widen
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import (
    BLOCK_LINES,
    CHUNK,
    LANES,
    PIECE,
    SERIAL,
    SHORT,
    TASK,
)
from fastmat.cpu.kinds import LARGEST, MAGNITUDES, MOMENTS, SQUARES
from fastmat.cpu.lines import across, is_packed, line, loaded, own, packed, store
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch, sum_dtype
from fastmat.cpu.views import part

FLOATS = ("float16", "bfloat16", "float32", "float64")


@kernel(
    lambda t: (
        reads(t, 5),
        writes(types.float64, 5),
        writes(types.float64, 5),
        types.intp,
    ),
    FLOATS,
    from_python=True,
)
def statistics(
    x,  # in (o, i, p, r, q), not empty
    center,  # out (o, i, 1, 1, 1)
    spread,  # out (o, i, 1, 1, 1)
    kind,  # what to measure
):
    """Center and spread of each group."""
    groups = x.shape[0] * x.shape[1]
    threads = num_threads() if x.size > SERIAL else 1
    if is_across(x):
        pieces = ceil_div(x.size // groups, BLOCK_LINES)
        blocks = x.shape[0] * ceil_div(x.shape[1], LANES)
        found = scratch((2, groups, pieces), types.float64)
        buffers = scratch((threads, 1, BLOCK_LINES * LANES), sum_dtype(x.dtype))
        parallel_for(_lanes, blocks * pieces, threads, (x, found, kind, buffers))
    else:
        pieces = ceil_div(chunks(x), PIECE)
        several = max(1, TASK * pieces * groups // x.size)
        found = scratch((2, groups, pieces), types.float64)
        buffers = scratch((threads, 1, CHUNK), sum_dtype(x.dtype))
        tasks = ceil_div(groups * pieces, several)
        parallel_for(_pieces, tasks, threads, (x, found, kind, several, buffers))
    for g in range(groups):
        o, i = g // x.shape[1], g % x.shape[1]
        count, mean, total = 0, 0.0, 0.0
        for piece in range(pieces):
            length = _length(x, piece)
            mean, total = combined(
                kind, count, mean, total, length, found[0, g, piece], found[1, g, piece]
            )
            count += length
        center[o, i, 0, 0, 0] = mean
        spread[o, i, 0, 0, 0] = total


@inlined
def is_across(x):
    """Whether groups lie side by side, or are so short that they are better computed so."""
    _, inner, p, r, q = x.shape
    return inner > 1 and (abs(x.strides[1]) < abs(x.strides[4]) or q == 1 or p * r * q <= SHORT)


@inlined
def chunks(x):
    """The number of chunks that a group is read in."""
    return x.shape[2] * x.shape[3] * ceil_div(x.shape[4], CHUNK)


@always_inlined
def chunk(
    x,  # in (o, i, p, r, q); axes of length 1 are repeated
    o,
    i,
    c,  # number of the chunk
    shape,  # (o, i, p, r, q)
):
    """A chunk of a group: at most CHUNK numbers along the last axis."""
    in_a_line = ceil_div(shape[4], CHUNK)
    run, first = c // in_a_line, c % in_a_line * CHUNK
    numbers = line(x, o, i, run // shape[3], run % shape[3], first)
    return part(numbers, 0, CHUNK)


@inlined
def _length(x, piece):
    """How many numbers of a group are in a piece."""
    if is_across(x):
        lines = x.shape[2] * x.shape[3] * x.shape[4]
        return min(BLOCK_LINES, lines - piece * BLOCK_LINES)
    in_a_line = ceil_div(x.shape[4], CHUNK)
    first, last = piece * PIECE, min((piece + 1) * PIECE, chunks(x))
    whole_lines = (last // in_a_line - first // in_a_line) * x.shape[4]
    return whole_lines + last % in_a_line * CHUNK - first % in_a_line * CHUNK


@task
def _pieces(args, slot, index):
    x, found, kind, several, buffers = args
    pieces = found.shape[2]
    for number in range(index * several, min((index + 1) * several, found.shape[1] * pieces)):
        g, piece = number // pieces, number % pieces
        first, last = piece * PIECE, min((piece + 1) * PIECE, chunks(x))
        o, i = g // x.shape[1], g % x.shape[1]
        mean, total = of_chunks(x, o, i, first, last, kind, own(buffers, slot, 0))
        found[0, g, piece], found[1, g, piece] = mean, total


@always_inlined
def of_chunks(
    x,  # in (o, i, p, r, q)
    o,
    i,
    first,
    last,
    kind,
    buffer,  # scratch (CHUNK,)
):
    """Center and spread of some chunks of a group."""
    count, mean, total = 0, 0.0, 0.0
    for c in range(first, last):
        numbers = loaded(chunk(x, o, i, c, x.shape), buffer)
        center, spread = _of_line(numbers, kind)
        mean, total = combined(kind, count, mean, total, numbers.shape[0], center, spread)
        count += numbers.shape[0]
    return mean, total


@always_inlined
def _of_line(x, kind):
    if kind == MOMENTS:
        mean = _sum(x) / x.shape[0]
        return mean, _squares(x, mean)
    if kind == SQUARES:
        return 0.0, _squares(x, 0.0)
    if kind == MAGNITUDES:
        return 0.0, _magnitudes(x)
    return 0.0, _largest(x)


@always_inlined
def combined(kind, count, center, spread, count2, center2, spread2):
    """Center and spread of two sets of numbers together; the first may be empty."""
    if count == 0:
        return center2, spread2
    if kind == LARGEST:
        return 0.0, spread if spread > spread2 or spread != spread else spread2
    if kind == MOMENTS:
        share = count2 / (count + count2)
        apart = center2 - center
        return center + apart * share, spread + spread2 + apart * apart * (count * share)
    return 0.0, spread + spread2


@reducing
def _sum(x):
    total = 0.0
    for j in range(x.shape[0]):
        total += np.float64(x[j])
    return total


@reducing
def _squares(x, center):
    total = 0.0
    for j in range(x.shape[0]):
        apart = np.float64(x[j]) - center
        total += apart * apart
    return total


@reducing
def _magnitudes(x):
    total = 0.0
    for j in range(x.shape[0]):
        total += abs(np.float64(x[j]))
    return total


@reducing
def _largest(x):
    largest, strange = abs(x[0]), 0
    for j in range(x.shape[0]):
        size = abs(x[j])
        largest = size if size > largest else largest
        strange |= size != size
    return np.nan if strange else np.float64(largest)


@task
def _lanes(args, slot, index):
    x, found, kind, buffers = args
    pieces = found.shape[2]
    block, piece = index // pieces, index % pieces
    first = piece * BLOCK_LINES
    o, i, width = place(x, block)
    lines = min(BLOCK_LINES, x.shape[2] * x.shape[3] * x.shape[4] - first)
    numbers = own(buffers, slot, 0)
    load_block(x, o, i, width, first, lines, numbers)
    centers = scratch(LANES, types.float64)
    spreads = scratch(LANES, types.float64)
    of_block(numbers, lines, kind, centers, spreads)
    for k in range(width):
        g = o * x.shape[1] + i + k
        found[0, g, piece], found[1, g, piece] = centers[k], spreads[k]


@inlined
def place(x, block):
    """Where a block of LANES groups begins, and how many of them there are."""
    in_a_row = ceil_div(x.shape[1], LANES)
    i = block % in_a_row * LANES
    return block // in_a_row, i, min(LANES, x.shape[1] - i)


@always_inlined
def load_block(
    x,  # in (o, i, p, r, q)
    o,
    i,
    width,  # groups, up to LANES
    first,  # number of the first line: of the first place in p, r, q
    lines,
    block,  # out (lines * LANES,)
):
    """Lines of numbers of neighbouring groups; groups that are not there are 0."""
    r, q = x.shape[3], x.shape[4]
    if width < LANES:
        for j in range(lines * LANES):
            block[j] = 0
    if first == 0 and lines == q and abs(x.strides[4]) < abs(x.strides[1]):
        for k in range(width):
            numbers = line(x, o, i + k, 0, 0, 0)
            for j in range(lines):
                block[j * LANES + k] = widen(numbers[j])
        return
    for j in range(lines):
        t = first + j
        numbers = part(across(x, o, i, t // (r * q), t // q % r, t % q), 0, width)
        target = part(block, j * LANES, j * LANES + width)
        if is_packed(numbers):
            side_by_side = packed(numbers)
            for k in range(width):
                target[k] = widen(side_by_side[k])
        else:
            for k in range(width):
                target[k] = widen(numbers[k])


@always_inlined
def store_block(
    block,  # in (lines * LANES,)
    out,  # out (o, i, p, r, q)
    o,
    i,
    width,
    first,
    lines,
    streaming,
):
    """The way back of `load_block`."""
    r, q = out.shape[3], out.shape[4]
    if first == 0 and lines == q and abs(out.strides[4]) < abs(out.strides[1]):
        for k in range(width):
            target = line(out, o, i + k, 0, 0, 0)
            for j in range(lines):
                target[j] = narrow(block[j * LANES + k], out.dtype)
        return
    for j in range(lines):
        t = first + j
        target = part(across(out, o, i, t // (r * q), t // q % r, t % q), 0, width)
        store(part(block, j * LANES, j * LANES + width), target, streaming)


@always_inlined
def of_block(
    block,  # in (lines * LANES,)
    lines,
    kind,
    center,  # out (LANES,)
    spread,  # out (LANES,)
):
    """Center and spread of each of LANES groups that lie side by side."""
    for k in range(LANES):
        center[k] = spread[k] = 0
    if kind == MOMENTS:
        for j in range(lines):
            for k in range(LANES):
                center[k] += np.float64(block[j * LANES + k])
        for k in range(LANES):
            center[k] /= lines
    for j in range(lines):
        for k in range(LANES):
            number = np.float64(block[j * LANES + k])
            if kind == MAGNITUDES:
                spread[k] += abs(number)
            elif kind == LARGEST:
                size = abs(number)
                spread[k] = spread[k] if spread[k] >= size or spread[k] != spread[k] else size
            else:
                apart = number - center[k]
                spread[k] += apart * apart
