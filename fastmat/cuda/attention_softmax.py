"""Scores of a tile to weights: masks, exponentials, the largest so far."""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import cuda, types

from fastmat.cuda.attention_tiles import PER_LANE, inlined
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import bits_of_float, exp2_of_single
from fastmat.cuda.launch_attention import LANES

ALL_LANES = 0xFFFFFFFF


@functools.cache
def widened_bits(number):
    """The bits of the float64 that equals a number; without float64 arithmetic for float32."""

    @inlined
    def of_double(x):
        return bits_of_float(x)

    @inlined
    def of_single(x):
        bits = types.uint64(bits_of_float(x))
        sign, rest = (bits >> types.uint64(31)) << types.uint64(63), bits & types.uint64(0x7FFFFFFF)
        if rest >= types.uint64(0x7F800000):  # infinity and NaN
            return (
                sign
                | types.uint64(0x7FF << 52)
                | ((rest & types.uint64(0x7FFFFF)) << types.uint64(29))
            )
        if rest < types.uint64(0x800000):  # zero, and what is next to it
            return sign
        return sign | ((rest << types.uint64(29)) + types.uint64(896 << 52))

    return of_double if number == "float64" else of_single


@functools.cache
def additive(mask, number, per_thread, groups):
    """Adds a mask to a tile of scores."""
    kind, compute = element(mask), element(number).number
    widen = kind.widen
    log2_e = compute(math.log2(math.e))

    @inlined
    def add(scores, bits, masks, start, row_stride, column_stride, row, row_stop, column):
        for i in range(per_thread):
            for j in range(PER_LANE):
                this_row = row + i * groups
                if this_row < row_stop and (bits >> types.uint32(i * PER_LANE + j)) & types.uint32(
                    1
                ):
                    at = start + this_row * row_stride + (column + j * LANES) * column_stride
                    scores[i * PER_LANE + j] += compute(widen(masks[at])) * log2_e

    return add


@functools.cache
def softmax_of_tile(tiles):
    """Scores to weights, with the largest scores and the sums so far: ``hide`` and ``weigh``."""
    number = element(tiles.number).number
    per_thread, stride = tiles.per_thread, tiles.groups * tiles.stride_of_weights
    lowest, nothing = number(-np.inf), number(-0.0)
    exp2 = exp2_of_single if tiles.number == "float32" else math.exp2

    @inlined
    def hide(scores, bits):
        for i in range(per_thread * PER_LANE):
            if not (bits >> types.uint32(i)) & types.uint32(1):
                scores[i] = lowest

    @inlined
    def mark(bits, shared, weights):
        """Weights of what is hidden, for `accumulate_seen`."""
        for i in range(per_thread):
            for j in range(PER_LANE):
                if not (bits >> types.uint32(i * PER_LANE + j)) & types.uint32(1):
                    shared[weights + i * stride + j * LANES] = nothing

    @inlined
    def weigh_row(i, scores, top, total, factor, shared, weights):
        first = i * PER_LANE
        largest = scores[first]
        for j in range(1, PER_LANE):
            largest = max(largest, scores[first + j])
        for step in (8, 4, 2, 1):
            largest = max(largest, cuda.shfl_xor_sync(ALL_LANES, largest, step))
        largest = max(top[i], largest)
        shift = number(0) if largest == lowest else largest  # no key is visible so far
        factor[i] = exp2(top[i] - shift)
        top[i] = largest
        sum_ = total[i] * factor[i]
        for j in range(PER_LANE):
            weight = exp2(scores[first + j] - shift)
            sum_ += weight
            shared[weights + i * stride + j * LANES] = weight
        total[i] = sum_

    @inlined
    def weigh(
        scores,  # in (per_thread * PER_LANE,)
        top,  # inout (per_thread,): largest scores
        total,  # inout (per_thread,): this lane's sums of exponentials
        factor,  # out (per_thread,): what earlier sums are to be multiplied with
        shared,
        weights,  # offset of the thread's first weight
    ):
        # Row by row in the source: the compiler does not unroll as much as this.
        weigh_row(0, scores, top, total, factor, shared, weights)
        weigh_row(1, scores, top, total, factor, shared, weights)
        weigh_row(2, scores, top, total, factor, shared, weights)
        weigh_row(3, scores, top, total, factor, shared, weights)
        if per_thread > 4:
            weigh_row(4, scores, top, total, factor, shared, weights)
            weigh_row(5, scores, top, total, factor, shared, weights)
            weigh_row(6, scores, top, total, factor, shared, weights)
            weigh_row(7, scores, top, total, factor, shared, weights)

    return hide, weigh, mark
