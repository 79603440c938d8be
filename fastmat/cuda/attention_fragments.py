"""Parts of the kernel of attention on tensor cores.

Lane ``4 * g + t`` of a warp has, of each block of 16 queries, the rows ``g`` and ``g + 8``, and of
each 8 columns those at ``2 * t`` and ``2 * t + 1``: four numbers, row by row. A row of 16-bit
floats lies in shared memory in chunks of 16 bytes, permuted so that eight rows meet each bank once.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import cuda, types

from fastmat.cuda.attention_softmax import ALL_LANES
from fastmat.cuda.attention_tiles import inlined
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import bits_of_float, exp2_of_single, load_run
from fastmat.cuda.intrinsics_pairs import pair_of
from fastmat.cuda.intrinsics_tensor import copy_async, load_matrices, multiply_fragments

_LOWEST = np.float32(-np.inf)
_HIDDEN = np.uint32(1 << 31)  # the bits of -0.0, the weight of what is hidden


def _swizzle(size):
    """What the chunks of a row are XORed with."""
    if size >= 64:

        @inlined
        def permutation(row):
            return row & types.uint32(7)

    else:

        @inlined
        def permutation(row):
            return (row >> types.uint32(1)) & types.uint32(3)

    return permutation


@functools.cache
def loader(warps, rows):
    """Starts the copy of rows to shared memory, with zeros beyond the operand."""
    chunks, line = warps.size // 8, warps.line
    down = warps.threads // chunks
    passes = max(1, rows // down)
    permutation = _swizzle(warps.size)
    copy = copy_async(16, part=True)

    @inlined
    def load(
        to,  # address in shared memory
        source,  # in: the operand's plane
        start,  # its first item
        row_stride,
        row,  # the first one
        row_stop,
        column_stop,
        thread,
    ):
        chunk, own = thread % types.uint32(chunks), thread // types.uint32(chunks)
        at_row, at_column = types.int32(row + types.int32(own)), types.int32(chunk) * 8
        at = start + at_row * row_stride + at_column
        to += own * types.uint32(line)
        left = types.int32(row_stop - at_row if at_column < column_stop else 0)
        for p in range(passes):
            there = to + types.uint32(p * down * line)
            if down % 8 == 0:
                place = permutation(own)
            else:
                place = permutation(own + types.uint32(p * down))
            there += (chunk ^ place) << types.uint32(4)
            if types.int32(p * down) < left:
                copy(there, source, at + p * (down * row_stride), types.uint32(16))
            else:
                copy(there, source, start, types.uint32(0))

    return load


@functools.cache
def scores_of(dtype, warps):
    """Queries times keys."""
    blocks, columns, line, steps = warps.blocks, warps.keys // 8, warps.line, warps.size // 16
    permutation = _swizzle(warps.size)
    load = load_matrices(4)
    multiply = multiply_fragments(dtype, blocks, columns)
    length, of_a_step, of_b_step = blocks * columns * 4, blocks * 4, columns * 2

    @inlined
    def scores_of_warp(
        scores,  # out (blocks * columns * 4,)
        queries,  # address in shared memory
        keys,
        warp,
        lane,
    ):
        a = cuda.local.array(of_a_step, types.uint32)
        b = cuda.local.array(of_b_step, types.uint32)
        low, eight = lane & types.uint32(7), (lane >> types.uint32(3)) & types.uint32(1)
        high = lane >> types.uint32(4)
        place = permutation(low)
        of_a = queries + (warp * types.uint32(16 * blocks) + eight * types.uint32(8) + low) * (
            types.uint32(line)
        )
        of_b = keys + (high * types.uint32(8) + low) * types.uint32(line)
        for i in range(length):
            scores[i] = types.float32(0)
        for step in range(steps):
            chunk = types.uint32(2 * step)
            for i in range(blocks):
                at = of_a + types.uint32(i * 16 * line)
                load(a, i * 4, at + ((place ^ high ^ chunk) << types.uint32(4)))
            for j in range(columns // 2):
                at = of_b + types.uint32(j * 16 * line)
                load(b, j * 4, at + ((place ^ eight ^ chunk) << types.uint32(4)))
            multiply(scores, a, 0, b, 0)

    return scores_of_warp


@functools.cache
def sums_of(dtype, warps):
    """Weights times values: ``accumulate``, and ``accumulate_seen`` where some are not finite."""
    blocks, columns, line, keys = warps.blocks, warps.size // 8, warps.line, warps.keys
    of_block = keys // 2
    permutation = _swizzle(warps.size)
    load = load_matrices(4, True)
    multiply = multiply_fragments(dtype, blocks, columns)
    pair = pair_of(dtype)
    kind = element(dtype)
    widen = kind.widen
    of_a_step, of_b_step = blocks * 4, columns * 2

    @inlined
    def one_step(step, sums, scores, of_b, place, high):
        a = cuda.local.array(of_a_step, types.uint32)
        b = cuda.local.array(of_b_step, types.uint32)
        for i in range(blocks):
            for j in range(4):
                at = i * of_block + (step * 2 + j // 2) * 4 + j % 2 * 2
                a[i * 4 + j] = pair(scores[at], scores[at + 1])
        for j in range(columns // 2):
            chunk = types.uint32(2 * j)
            at = of_b + types.uint32(step * 16 * line)
            load(b, j * 4, at + ((place ^ high ^ chunk) << types.uint32(4)))
        multiply(sums, a, 0, b, 0)

    @inlined
    def accumulate(
        sums,  # inout (blocks * columns * 4,)
        scores,  # in: weights
        values,  # address in shared memory
        lane,
    ):
        low, eight = lane & types.uint32(7), (lane >> types.uint32(3)) & types.uint32(1)
        high = lane >> types.uint32(4)
        of_b = values + (eight * types.uint32(8) + low) * types.uint32(line)
        place = permutation(low)
        one_step(0, sums, scores, of_b, place, high)
        one_step(1, sums, scores, of_b, place, high)
        if keys > 32:
            one_step(2, sums, scores, of_b, place, high)
            one_step(3, sums, scores, of_b, place, high)

    @inlined
    def add_key(block, key, sums, shared, values, weights, lane):
        pair_of_lane = lane & types.uint32(3)
        place = permutation(types.uint32(key))
        for half in range(2):
            own = (lane >> types.uint32(2)) + types.uint32(8 * half)
            bits = shared[weights + own * types.uint32(keys) + key]
            if bits != _HIDDEN:
                weight = cuda.libdevice.int_as_float(types.int32(bits))
                for c in range(columns):
                    chunk = (types.uint32(c) ^ place) << types.uint32(2)
                    word = shared[values + key * types.uint32(line // 4) + chunk + pair_of_lane]
                    at = (block * columns + c) * 4 + half * 2
                    sums[at] += weight * widen(types.uint16(word & types.uint32(0xFFFF)))
                    sums[at + 1] += weight * widen(types.uint16(word >> types.uint32(16)))

    @inlined
    def accumulate_seen(block, sums, scores, shared, values, weights, lane, bits):
        """One block of 16 queries; weights are laid out in shared memory first."""
        row, pair_of_lane = lane >> types.uint32(2), (lane & types.uint32(3)) * types.uint32(2)
        for j in range(of_block):
            own = row + types.uint32(j % 4 // 2 * 8)
            key = pair_of_lane + types.uint32(j // 4 * 8 + j % 2)
            place = block * of_block + j
            seen = (bits >> types.uint64(place)) & types.uint64(1)
            weight = bits_of_float(scores[place]) if seen else _HIDDEN
            shared[weights + own * types.uint32(keys) + key] = weight
        cuda.syncwarp()
        for key in range(keys):
            add_key(block, key, sums, shared, values, weights, lane)
        cuda.syncwarp()

    @inlined
    def accumulate_all_seen(sums, scores, shared, values, weights, lane, bits):
        accumulate_seen(0, sums, scores, shared, values, weights, lane, bits)
        if blocks > 1:
            accumulate_seen(1, sums, scores, shared, values, weights, lane, bits)

    return accumulate, accumulate_all_seen


@functools.cache
def finite_of(dtype, warps):
    """Whether the part of a tile that a thread looks at is finite."""
    runs = warps.of_tile // 16
    threads = warps.threads
    passes = -(-runs // threads)
    exponent = np.uint32({"float16": 0x7C00, "bfloat16": 0x7F80}[dtype])

    @inlined
    def finite(shared, offset, thread):
        some = cuda.local.array(4, types.uint32)
        found = True
        for p in range(passes):
            run = thread + types.uint32(p * threads)
            if run < types.uint32(runs):
                load_run(some, 0, shared, offset + run * types.uint32(4), 4)
                for i in range(4):
                    low = some[i] & exponent != exponent
                    high = (some[i] >> types.uint32(16)) & exponent != exponent
                    found = found and low and high
        return found

    return finite


@functools.cache
def softmax_of_fragments(warps):
    """Scores to weights, with the largest scores and the sums so far."""
    blocks, of_block, columns = warps.blocks, warps.keys // 2, warps.keys // 8

    @inlined
    def weigh_row(i, scores, top, total, factor):
        first = i // 2 * of_block + i % 2 * 2
        largest = scores[first]
        for c in range(columns):
            largest = max(largest, scores[first + c * 4])
            largest = max(largest, scores[first + c * 4 + 1])
        largest = max(largest, cuda.shfl_xor_sync(ALL_LANES, largest, 2))
        largest = max(largest, cuda.shfl_xor_sync(ALL_LANES, largest, 1))
        largest = max(top[i], largest)
        shift = types.float32(0) if largest == _LOWEST else largest  # no key is visible so far
        factor[i] = exp2_of_single(top[i] - shift)
        top[i] = largest
        sum_ = total[i] * factor[i]
        for c in range(columns):
            for e in range(2):
                weight = exp2_of_single(scores[first + c * 4 + e] - shift)
                scores[first + c * 4 + e] = weight
                sum_ += weight
        total[i] = sum_

    @inlined
    def weigh(
        scores,  # inout
        top,  # inout (2 * blocks,): largest scores
        total,  # inout (2 * blocks,): this lane's sums of exponentials
        factor,  # out (2 * blocks,): what earlier sums are to be multiplied with
    ):
        weigh_row(0, scores, top, total, factor)
        weigh_row(1, scores, top, total, factor)
        if blocks > 1:
            weigh_row(2, scores, top, total, factor)
            weigh_row(3, scores, top, total, factor)

    return weigh


@functools.cache
def visibility(warps, mask, by_row=True):
    """Which scores are visible: ``advance`` to the next tile with such a one, ``bits``, ``hide``.

    ``add`` adds an additive mask. With `by_row`, rows are queries, otherwise columns are.
    """
    blocks, of_block, keys = warps.blocks, warps.keys // 2, warps.keys
    causal, boolean, plain = mask == "causal", mask == "bool", mask in (None, "causal", "bool")
    widen = element("float32" if plain else mask).widen
    log2_e = np.float32(math.log2(math.e))
    length = blocks * of_block

    @inlined
    def place(j, first, key):
        """The query and the key of a score."""
        return first + j // of_block * 16 + j % 4 // 2 * 8, key + j % of_block // 4 * 8 + j % 2

    @inlined
    def visible(first, key, key_stop, row_stop, masks, start, row_stride, column_stride):
        bits = types.uint64(0)
        for j in range(length):
            this_row, this_key = place(j, first, key)
            seen = this_key < key_stop
            if causal:
                if by_row:
                    seen = seen and this_key <= this_row
                else:
                    seen = seen and this_row <= this_key
            if boolean:
                seen = seen and this_row < row_stop
                if seen:
                    seen = masks[start + this_row * row_stride + this_key * column_stride] != 0
            if seen:
                bits |= types.uint64(1 << j)
        return bits

    @inlined
    def advance(key, key_stop, first, pair, row_stop, masks, start, row_stride, column_stride):
        bits = types.uint64(0)
        if boolean:
            while key < key_stop:
                bits = visible(
                    first, key + pair, key_stop, row_stop, masks, start, row_stride, column_stride
                )
                if cuda.syncthreads_or(types.int32(bits != types.uint64(0))) != 0:
                    break
                key = types.int32(key + keys)
        return key, bits

    @inlined
    def seen_bits(bits, first, key, key_stop, row_stop, masks, start, row_stride, column_stride):
        """The bits of a tile; those of a boolean mask are there already."""
        if boolean:
            return bits
        return visible(first, key, key_stop, row_stop, masks, start, row_stride, column_stride)

    @inlined
    def hide(scores, bits):
        for j in range(length):
            if not (bits >> types.uint64(j)) & types.uint64(1):
                scores[j] = _LOWEST

    @inlined
    def add_some(begin, scores, masks, start, row_stride, column_stride, first, key, stops):
        row_stop, key_stop = stops
        for j in range(begin, begin + 8):
            this_row, this_key = place(j, first, key)
            if this_row < row_stop and this_key < key_stop:
                at = start + this_row * row_stride + this_key * column_stride
                scores[j] += types.float32(widen(masks[at])) * log2_e

    @inlined
    def add(scores, masks, start, row_stride, column_stride, first, key, stops):
        if plain:
            return
        # A few at a time in the source: the compiler does not unroll as much as all.
        add_some(0, scores, masks, start, row_stride, column_stride, first, key, stops)
        add_some(8, scores, masks, start, row_stride, column_stride, first, key, stops)
        if length > 16:
            add_some(16, scores, masks, start, row_stride, column_stride, first, key, stops)
            add_some(24, scores, masks, start, row_stride, column_stride, first, key, stops)
        if length > 32:
            add_some(32, scores, masks, start, row_stride, column_stride, first, key, stops)
            add_some(40, scores, masks, start, row_stride, column_stride, first, key, stops)
            add_some(48, scores, masks, start, row_stride, column_stride, first, key, stops)
            add_some(56, scores, masks, start, row_stride, column_stride, first, key, stops)

    return advance, seen_bits, hide, add
