"""Parts of the kernels of attention: chunks on their way to shared memory, products of tiles.

A tile of scores has a row for each of `rows` queries and a column for each of `KEYS` keys; for
gradients by keys, it is the other way round. Thread ``(group, lane)`` has the rows
``group + i * groups`` and the columns ``lane + 16 * j``; of results, it has the same rows and
neighbouring columns.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import bits_of_float, load_run, store_run
from fastmat.cuda.launch_attention import KEYS, LANES

inlined = functools.partial(cuda.jit, device=True, forceinline=True)
PER_LANE = KEYS // LANES  # columns of scores that a thread has


@functools.cache
def chunk_of(rows, columns, stride, threads, dtype, number, aligned):
    """How chunks of an operand reach shared memory: ``fetch``, ``put`` and the buffer's length.

    Between the two, products are computed while the chunk is on its way.
    """
    kind, wide = element(dtype), element(number)
    stored, widen, compute, wide_run = kind.stored, kind.widen, wide.number, wide.run
    run = kind.run if aligned else 1
    part = min(run, wide_run)
    across = columns // run
    down = threads // across
    passes = rows // down
    nothing = stored(0)

    @inlined
    def fetch(
        raw,  # out (length,)
        source,  # in: the operand's plane
        start,  # its first item
        row_stride,
        column_stride,
        row,  # the chunk's first row
        row_stop,  # rows from here on are zeros
        column,
        column_stop,
        thread,
    ):
        at_row, at_column = row + thread // across, column + thread % across * run
        at = start + at_row * row_stride + at_column * column_stride
        step = down * row_stride
        left = types.int32(row_stop - at_row if at_column < column_stop else 0)
        for p in range(passes):
            if types.int32(p * down) < left:
                load_run(raw, p * run, source, at + p * step, run)
            else:
                for e in range(run):
                    raw[p * run + e] = nothing

    @inlined
    def put(
        raw,  # in (length,)
        shared,
        offset,  # of the chunk
        factor,  # what the numbers are multiplied with
        thread,
    ):
        """Whether all are finite."""
        some = cuda.local.array(part, compute)
        at = offset + thread // across * stride + thread % across * run
        zero = compute(0)
        for p in range(passes):
            for first in range(0, run, part):
                for e in range(part):
                    some[e] = compute(widen(raw[p * run + first + e])) * factor
                    zero += some[e] * compute(0)
                store_run(shared, at + p * down * stride + first, some, 0, part)
        return zero == compute(0)

    return fetch, put, passes * run


@functools.cache
def products(tiles):
    """Products of tiles: ``clear``, ``multiply``, ``accumulate`` and ``accumulate_seen``."""
    number = element(tiles.number).number
    run, chunk, stride = tiles.run, tiles.chunk, tiles.stride
    per_thread, groups, stride_of_weights = tiles.per_thread, tiles.groups, tiles.stride_of_weights
    columns = chunk // LANES
    part = min(run, columns)
    keys_of_step, steps = PER_LANE * run, chunk // run
    size_of_values = run * columns
    hidden = {"float32": np.uint32(1 << 31), "float64": np.uint64(1 << 63)}[tiles.number]

    @inlined
    def clear(scores):
        for i in range(per_thread * PER_LANE):
            scores[i] = number(0)

    @inlined
    def multiply(
        scores,  # inout (per_thread * PER_LANE,)
        shared,
        left,  # offset of the thread's first row in a chunk
        right,  # offset of its first column, which is a row of the other chunk
    ):
        """The product of rows and rows."""
        b = cuda.local.array(keys_of_step, number)
        a = cuda.local.array(run, number)
        for step in range(steps):
            d = step * run
            for j in range(PER_LANE):
                load_run(b, j * run, shared, right + j * LANES * stride + d, run)
            for i in range(per_thread):
                load_run(a, 0, shared, left + i * groups * stride + d, run)
                for j in range(PER_LANE):
                    for e in range(run):
                        scores[i * PER_LANE + j] += a[e] * b[j * run + e]

    @inlined
    def accumulate(
        sums,  # inout (first + per_thread * columns or more,)
        first,
        shared,
        weights,  # offset of the thread's first row
        values,  # offset of its first column in a chunk
    ):
        """Weights times values."""
        b = cuda.local.array(size_of_values, number)
        a = cuda.local.array(run, number)
        for step in range(KEYS // run):
            key = step * run
            for r in range(run):
                for c in range(0, columns, part):
                    load_run(b, r * columns + c, shared, values + (key + r) * stride + c, part)
            for i in range(per_thread):
                load_run(a, 0, shared, weights + i * groups * stride_of_weights + key, run)
                for r in range(run):
                    for c in range(columns):
                        sums[first + i * columns + c] += a[r] * b[r * columns + c]

    @inlined
    def accumulate_seen(sums, first, shared, weights, values):
        """The same; hidden values, whose weight is -0.0, take no part: they may be NaN."""
        b = cuda.local.array(columns, number)
        for key in range(KEYS):
            for c in range(0, columns, part):
                load_run(b, c, shared, values + key * stride + c, part)
            for i in range(per_thread):
                weight = shared[weights + i * groups * stride_of_weights + key]
                if bits_of_float(weight) != hidden:
                    for c in range(columns):
                        sums[first + i * columns + c] += weight * b[c]

    return clear, multiply, accumulate, accumulate_seen


@functools.cache
def visibility(tiles, mask, by_row):
    """Which scores of a tile are visible: ``advance``, to the next tile with such a one.

    `mask` is None, "causal", "bool" or the dtype of an additive mask; with `by_row`, rows of tiles
    are queries, otherwise columns are. A thread's scores are bits of a word.
    """
    per_thread, groups = tiles.per_thread, tiles.groups
    causal, boolean = mask == "causal", mask == "bool"

    @inlined
    def advance(
        column,  # where to begin
        column_stop,
        row,  # the tile's first row
        row_stop,
        masks,  # in: a plane of the boolean mask
        start,
        row_stride,
        column_stride,
        group,
        lane,
    ):
        """The tile's first column, and its bits."""
        bits = types.uint32(0)
        while column < column_stop:
            bits = types.uint32(0)
            for i in range(per_thread):
                this_row = row + group + i * groups
                for j in range(PER_LANE):
                    this_column = column + lane + j * LANES
                    seen = this_column < column_stop
                    if causal:
                        if by_row:
                            seen = seen and this_column <= this_row
                        else:
                            seen = seen and this_row <= this_column
                    if boolean:
                        seen = seen and this_row < row_stop
                        if seen:
                            at = start + this_row * row_stride + this_column * column_stride
                            seen = masks[at] != 0
                    if seen:
                        bits |= types.uint32(1 << (i * PER_LANE + j))
            if not boolean or cuda.syncthreads_or(types.int32(bits != 0)) != 0:
                break
            column = types.int32(column + KEYS)
        return column, bits

    return advance
