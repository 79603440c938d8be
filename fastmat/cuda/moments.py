"""Center and spread of groups of numbers, in pieces that are combined in a fixed order.

Groups lie along two axes (o, i), the numbers of a group along three (p, r, q): any strides.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_norms import AT_ONCE, GROUP_BLOCK, Shape
from fastmat.cuda.strided import AXES, STRIDES, place_of

# What is measured of a group.
MOMENTS = "moments"  # mean in two parts, sum of squares of deviations from it
SQUARES = "squares"  # sum of squares
MAGNITUDES = "magnitudes"  # sum of magnitudes
LARGEST = "largest"  # largest magnitude

# What the spread of n numbers makes of eps: the factor of a normalized group.
MEAN_SPREAD = "mean spread"  # 1 / sqrt(spread / n + eps)
NORM = "norm"  # 1 / max(spread, eps)
ROOT_NORM = "root norm"  # 1 / max(sqrt(spread), eps)
DEVIATION = "deviation"  # 1 / sqrt(spread / (n - eps))

PLANES = 4  # of what is measured: two parts of the center, spread, count


@functools.cache
def merging(dtype: str, kind: str) -> Any:
    """A device function that makes one state of two; a state is (high, low, spread, count)."""
    zero = np.dtype(dtype).type(0)

    @cuda.jit(device=True, forceinline=True)
    def merge(high, low, spread, count, other_high, other_low, other_spread, other_count):
        if other_count == zero:
            return high, low, spread, count
        if count == zero:
            return other_high, other_low, other_spread, other_count
        total = count + other_count
        share = other_count / total
        apart = (other_high - high) + (other_low - low)
        spread = spread + other_spread + apart * apart * (count * share)
        # The exact sum of mean and step, in two parts.
        step = low + apart * share
        mean = high + step
        back = mean - high
        low = (high - (mean - back)) + (step - back)
        if low != low:
            low = zero
        if mean != mean:
            mean = high + other_high
        return mean, low, spread, total

    @cuda.jit(device=True, forceinline=True)
    def add(high, low, spread, count, other_high, other_low, other_spread, other_count):
        return high, low, spread + other_spread, count + other_count

    @cuda.jit(device=True, forceinline=True)
    def larger(high, low, spread, count, other_high, other_low, other_spread, other_count):
        if other_spread > spread or other_spread != other_spread:
            spread = other_spread
        return high, low, spread, count + other_count

    return {MOMENTS: merge, LARGEST: larger}.get(kind, add)


@functools.cache
def _through_shared(dtype: str, kind: str, shape: Shape) -> Any:
    """A device function: the state of each group of the block, to its first thread."""
    merge = merging(dtype, kind)
    G, T = shape.groups, shape.threads

    @cuda.jit(device=True, forceinline=True)
    def reduce(high, low, spread, count, g, lane, highs, lows, spreads, counts):
        at = lane * G + g
        highs[at] = high
        lows[at] = low
        spreads[at] = spread
        counts[at] = count
        half = T >> 1
        while half > 0:
            cuda.syncthreads()
            if lane < half:
                other = at + half * G
                high, low, spread, count = merge(
                    high, low, spread, count,
                    highs[other], lows[other], spreads[other], counts[other],
                )  # fmt: skip
                highs[at] = high
                lows[at] = low
                spreads[at] = spread
                counts[at] = count
            half >>= 1
        return high, low, spread, count

    return reduce


@functools.cache
def _piece(dtype: str, kind: str, size: int) -> Any:
    """Device functions: the state of `size` numbers, of all of them and of those that are here."""
    moments, largest, magnitudes = kind == MOMENTS, kind == LARGEST, kind == MAGNITUDES
    number = np.dtype(dtype).type
    zero, full, share = number(0), number(size), number(1 / size)

    @cuda.jit(device=True, forceinline=True)
    def of_all(v):
        center = rest = squares = zero
        if moments:
            first = v[0]
            s = zero
            for u in range(size):
                s += v[u] - first
            center = first + s * share
            if center != center:  # infinities, perhaps of one sign
                center = zero
                for u in range(size):
                    center += v[u]
            for u in range(size):
                d = v[u] - center
                rest += d
                squares += d * d
            rest *= share
            squares -= rest * rest * full
            if squares < zero:
                squares = zero
            if rest != rest:
                rest = zero
            return center, rest, squares, full
        for u in range(size):
            if largest:
                w = abs(v[u])
                if w > squares or w != w:
                    squares = w
            elif magnitudes:
                squares += abs(v[u])
            else:
                squares += v[u] * v[u]
        return zero, zero, squares, full

    @cuda.jit(device=True, forceinline=True)
    def of_some(v, here):
        n = center = rest = squares = zero
        for u in range(size):
            n += here[u]
        if moments and n != zero:
            first = zero
            for u in range(size):
                if here[u] != zero:
                    first = v[u]
            s = zero
            plain = zero
            for u in range(size):
                if here[u] != zero:
                    s += v[u] - first
                    plain += v[u]
            center = first + s / n
            if center != center:
                center = plain
            for u in range(size):
                if here[u] != zero:
                    d = v[u] - center
                    rest += d
                    squares += d * d
            rest /= n
            squares -= rest * rest * n
            if squares < zero:
                squares = zero
            if rest != rest:
                rest = zero
        if not moments:
            for u in range(size):
                if here[u] != zero:
                    w = v[u]
                    if largest or magnitudes:
                        w = abs(w)
                    if largest:
                        if w > squares or w != w:
                            squares = w
                    elif magnitudes:
                        squares += w
                    else:
                        squares += w * w
        return center, rest, squares, n

    return of_all, of_some


@functools.cache
def measure(dtype: str, kind: str, masked: bool, depth: int, shape: Shape, run: int = 1) -> Kernel:
    """Measure pieces of groups, whose numbers lie along the last axes, `depth` of them.

    `run` of them are read by one access.
    """
    e = element(dtype)
    number, stored, widen = e.number, e.stored, e.widen
    merge = merging(number.name, kind)
    reduce, place = _through_shared(number.name, kind, shape), place_of(depth)
    G, T, V, across = shape.groups, shape.threads, run, shape.across
    U = max(AT_ONCE // V, 2)
    of_all, of_some = _piece(number.name, kind, U * V)
    block, size = G * T, U * V
    zero, one = np.dtype(number.name).type(0), np.dtype(number.name).type(1)

    def measure_pieces(
        x,  # in (o, i, p, r, q)
        mask,  # in, as x
        partial,  # out (PLANES, pieces, groups)
        groups,
        all_groups,  # of the partial results, which may be made by several launches
        pieces,
        length,  # of a piece
        count,  # of the numbers of a group
        i_length, r_length, q_length,
        result_o, result_i,
        x_o, x_i, x_p, x_r, x_q,
        mask_o, mask_i, mask_p, mask_r, mask_q,
    ):  # fmt: skip
        highs = cuda.shared.array(block, number)
        lows = cuda.shared.array(block, number)
        spreads = cuda.shared.array(block, number)
        counts = cuda.shared.array(block, number)
        t = cuda.threadIdx.x
        g = t % G if across else t // T
        lane = t // G if across else t % T
        piece = cuda.blockIdx.x % pieces
        group = types.int64(cuda.blockIdx.x // pieces) * G + g
        o = group // i_length
        i = group - o * i_length
        start = o * x_o + i * x_i
        mask_start = o * mask_o + i * mask_i
        j = piece * length + lane * V
        stop = min(count, (piece + 1) * length)
        if group >= groups:
            stop = types.int64(0)
        high = low = spread = found = zero
        raw = cuda.local.array(size, stored)
        v = cuda.local.array(size, number)
        while not masked and j + (U - 1) * T * V < stop:
            for u in range(U):
                p, r, q = place(j + u * T * V, r_length, q_length)
                load_run(raw, u * V, x, start + p * x_p + r * x_r + q * x_q, V)
            for u in range(size):
                v[u] = widen(raw[u])
            center, rest, squares, n = of_all(v)
            high, low, spread, found = merge(high, low, spread, found, center, rest, squares, n)
            j += U * T * V
        while j < stop:
            here = cuda.local.array(size, number)
            for u in range(U):
                at = j + u * T * V
                for k in range(V):
                    here[u * V + k] = zero
                if at < stop:
                    p, r, q = place(at, r_length, q_length)
                    load_run(raw, u * V, x, start + p * x_p + r * x_r + q * x_q, V)
                    for k in range(V):
                        v[u * V + k] = widen(raw[u * V + k])
                        here[u * V + k] = one
                    if masked and not mask[mask_start + p * mask_p + r * mask_r + q * mask_q]:
                        here[u] = zero
            center, rest, squares, n = of_some(v, here)
            high, low, spread, found = merge(high, low, spread, found, center, rest, squares, n)
            j += U * T * V
        high, low, spread, found = reduce(
            high, low, spread, found, g, lane, highs, lows, spreads, counts
        )
        if lane == 0 and group < groups:
            at = piece * all_groups + o * result_o + i * result_i
            plane = pieces * all_groups
            partial[at] = high
            partial[at + plane] = low
            partial[at + 2 * plane] = spread
            partial[at + 3 * plane] = found

    arguments = (
        e.pointer, "uint8*", f"{number.name}*", *["int64"] * 5, *AXES, "int64", "int64",
        *STRIDES, *STRIDES,
    )  # fmt: skip
    name = f"measure_pieces {dtype} {kind} {masked} {depth} {shape} {run}"
    return Kernel(measure_pieces, arguments, name=name, threads=block)


@functools.cache
def finish(dtype: str, kind: str, rule: str, kept: bool) -> Kernel:
    """Combine pieces of groups to center and factor.

    `dtype` is that of the partial results; `kept` says whether statistics go out in float64.
    """
    shape = GROUP_BLOCK
    merge = merging(dtype, kind)
    reduce = _through_shared(dtype, kind, shape)
    number = getattr(types, dtype)
    G, T = shape.groups, shape.threads
    block = G * T
    zero, one = np.dtype(dtype).type(0), np.dtype(dtype).type(1)
    mean_spread, root, deviation = rule == MEAN_SPREAD, rule == ROOT_NORM, rule == DEVIATION

    def finish_groups(
        partial,  # in (PLANES, pieces, groups)
        result,  # out (PLANES, groups): center in two parts, factor, count
        spreads_out,  # out (groups,)
        mean,  # out (groups,)
        rstd,  # out (groups,)
        groups,
        pieces,
        eps,
    ):
        highs = cuda.shared.array(block, number)
        lows = cuda.shared.array(block, number)
        spreads = cuda.shared.array(block, number)
        counts = cuda.shared.array(block, number)
        t = cuda.threadIdx.x
        g = t % G
        lane = t // G
        group = types.int64(cuda.blockIdx.x) * G + g
        plane = pieces * groups
        high = low = spread = count = zero
        piece = types.int64(lane)
        if group >= groups:
            piece = pieces
        while piece < pieces:
            at = piece * groups + group
            high, low, spread, count = merge(
                high, low, spread, count, partial[at], partial[at + plane],
                partial[at + 2 * plane], partial[at + 3 * plane],
            )  # fmt: skip
            piece += T
        high, low, spread, count = reduce(
            high, low, spread, count, g, lane, highs, lows, spreads, counts
        )
        if lane != 0 or group >= groups:
            return
        if mean_spread:
            factor = one / math.sqrt(spread / count + eps)
            if count == zero:  # NaN
                high = factor
        elif deviation:
            factor = one / math.sqrt(spread / max(count - eps, zero))
        else:
            norm = math.sqrt(spread) if root else spread
            factor = one / (eps if norm < eps else norm)
        result[group] = high
        result[group + groups] = low
        result[group + 2 * groups] = factor
        result[group + 3 * groups] = count
        spreads_out[group] = spread
        if kept:
            mean[group] = types.float64(high) + types.float64(low)
            rstd[group] = types.float64(factor)

    arguments = (
        *[f"{dtype}*"] * 3, "float64*", "float64*", "int64", "int64", dtype,
    )  # fmt: skip
    name = f"finish_groups {dtype} {kind} {rule} {kept}"
    return Kernel(finish_groups, arguments, name=name, threads=block)
