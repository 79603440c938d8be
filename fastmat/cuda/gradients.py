"""Gradients of normalizations of arrays with any strides: sums of groups, then the gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_norms import GROUP_BLOCK, MAP_BLOCK, Shape
from fastmat.cuda.normalization import DIVISORS, MAP_STRIDES, coordinates
from fastmat.cuda.strided import AXES, STRIDES, place_of

# What a gradient is of: (cotangent * weight - shift - standardized * slope) * factor.
CENTERED = "centered"  # of x minus its mean over its deviation
SCALED = "scaled"  # of x over its root mean square
GIVEN = "given"  # of x standardized by statistics that do not depend on it
OF_NORM = "of norm"  # of x over its Euclidean norm
OF_MAGNITUDES = "of magnitudes"  # of x over the sum of its magnitudes
OF_LARGEST = "of largest"  # of x over its largest magnitude
PARAMETERS = "parameters"  # the sums are the gradients by bias and weight


@functools.cache
def _through_shared(shape: Shape):
    G, T = shape.groups, shape.threads

    @cuda.jit(device=True, forceinline=True)
    def reduce(first, second, count, g, lane, firsts, seconds, counts):
        at = lane * G + g
        firsts[at] = first
        seconds[at] = second
        counts[at] = count
        half = T >> 1
        while half > 0:
            cuda.syncthreads()
            if lane < half:
                other = at + half * G
                first += firsts[other]
                second += seconds[other]
                count += counts[other]
                firsts[at] = first
                seconds[at] = second
                counts[at] = count
            half >>= 1
        return first, second, count

    return reduce


# Within a group a weight or a statistic is the same, or at least along q, or it varies.
ALIKE, ALONG, VARYING = 0, 1, 2


def variation(lengths: Sequence[int], strides: Sequence[int]) -> int:
    """How what has these strides varies within a group."""
    if lengths[4] > 1 and strides[4] != 0:
        return VARYING
    if any(n > 1 and s != 0 for n, s in zip(lengths[2:4], strides[2:4], strict=True)):
        return ALONG
    return ALIKE


class Sums(NamedTuple):
    """What tells kernels that add up apart."""

    dtype: str
    parameters: str | None  # dtype of the weight
    weight: int  # its variation
    statistics: int  # their variation
    masked: bool
    ties: bool  # count what equals the center, not what is added
    depth: int  # axes that the numbers of a group lie along
    run: int  # numbers that one access reads


@functools.cache
def sums(variant: Sums, shape: Shape) -> Kernel:
    """Sums over pieces of groups: of cotangent * weight, and of that times the standardized x.

    The third is the count of the numbers that are added, or that equal the largest magnitude.
    """
    e = element(variant.dtype)
    parameter = element(variant.parameters or variant.dtype)
    number, stored, widen, to_number = e.number, e.stored, e.widen, parameter.widen
    weighted, masked, ties = variant.parameters is not None, variant.masked, variant.ties
    weight_varies, varies = variant.weight, variant.statistics
    reduce, place = _through_shared(shape), place_of(variant.depth)
    G, T, V, across = shape.groups, shape.threads, variant.run, shape.across
    U = max(8 // V, 2)
    block, size = G * T, U * V
    zero, one = np.dtype(number.name).type(0), np.dtype(number.name).type(1)

    def add_up(
        x,  # in (o, i, p, r, q)
        cotangent,  # in, as x
        mask,  # in, as x
        weight,  # in, as x
        high,  # in, center, as x
        low,  # in, what is added to it, as high
        factor,  # in, as high
        partial,  # out (3, pieces, groups)
        groups,
        all_groups,  # of the partial results, which may be made by several launches
        pieces,
        length,  # of a piece
        count,  # of the numbers of a group
        i_length, r_length, q_length,
        result_o, result_i,
        x_o, x_i, x_p, x_r, x_q,
        g_o, g_i, g_p, g_r, g_q,
        mask_o, mask_i, mask_p, mask_r, mask_q,
        weight_o, weight_i, weight_p, weight_r, weight_q,
        high_o, high_i, high_p, high_r, high_q,
    ):  # fmt: skip
        firsts = cuda.shared.array(block, number)
        seconds = cuda.shared.array(block, number)
        counts = cuda.shared.array(block, number)
        t = cuda.threadIdx.x
        group_lane = t % G if across else t // T
        lane = t // G if across else t % T
        piece = cuda.blockIdx.x % pieces
        group = types.int64(cuda.blockIdx.x // pieces) * G + group_lane
        o = group // i_length
        i = group - o * i_length
        x_start = o * x_o + i * x_i
        g_start = o * g_o + i * g_i
        mask_start = o * mask_o + i * mask_i
        weight_start = o * weight_o + i * weight_i
        stat_start = o * high_o + i * high_i
        j = piece * length + lane * V
        stop = min(count, (piece + 1) * length)
        w = center = rest = scale = zero
        if group >= groups:
            stop = types.int64(0)
        else:
            if weighted and weight_varies == ALIKE:
                w = number(to_number(weight[weight_start]))
            if varies == ALIKE:
                center = high[stat_start]
                rest = low[stat_start]
                scale = factor[stat_start]
        first = second = found = zero
        raw = cuda.local.array(size, stored)
        raw_g = cuda.local.array(size, stored)
        while j < stop:
            h_sum = product_sum = zero  # of a few numbers, so that the sums are not long chains
            for u in range(U):
                at = j + u * T * V
                if at < stop:
                    p, r, q = place(at, r_length, q_length)
                    load_run(raw, u * V, x, x_start + p * x_p + r * x_r + q * x_q, V)
                    load_run(raw_g, u * V, cotangent, g_start + p * g_p + r * g_r + q * g_q, V)
            for u in range(U):
                at = j + u * T * V
                if at < stop:
                    p, r, q = place(at, r_length, q_length)
                    inside = True
                    if masked:
                        inside = mask[mask_start + p * mask_p + r * mask_r + q * mask_q] != 0
                    stat = stat_start + p * high_p + r * high_r + q * high_q
                    w_at = weight_start + p * weight_p + r * weight_r + q * weight_q
                    for k in range(V):
                        if weighted and (
                            weight_varies == VARYING or (weight_varies == ALONG and k == 0)
                        ):
                            w = number(to_number(weight[w_at + k * weight_q]))
                        if varies == VARYING or (varies == ALONG and k == 0):
                            center = high[stat + k * high_q]
                            rest = low[stat + k * high_q]
                            scale = factor[stat + k * high_q]
                        h = widen(raw_g[u * V + k])
                        if weighted:
                            h *= w
                        v = widen(raw[u * V + k])
                        if ties:
                            if abs(v) == center:
                                found += one
                        else:
                            v = v - center - rest
                            if inside:
                                found += one
                        if inside:
                            h_sum += h
                            product_sum += h * (v * scale)
            first += h_sum
            second += product_sum
            j += U * T * V
        first, second, found = reduce(
            first, second, found, group_lane, lane, firsts, seconds, counts
        )
        if lane == 0 and group < groups:
            at = piece * all_groups + o * result_o + i * result_i
            plane = pieces * all_groups
            partial[at] = first
            partial[at + plane] = second
            partial[at + 2 * plane] = found

    n = f"{number.name}*"
    arguments = (
        e.pointer, e.pointer, "uint8*", parameter.pointer, n, n, n, n, *["int64"] * 5, *AXES,
        "int64", "int64", *STRIDES * 5,
    )  # fmt: skip
    return Kernel(add_up, arguments, name=f"add_up {variant} {shape}", threads=block)


@functools.cache
def finish(dtype: str, kind: str, written: str) -> Kernel:
    """Combine the sums of pieces: to shift and slope, or to gradients by weight and bias."""
    shape = GROUP_BLOCK
    reduce = _through_shared(shape)
    number = getattr(types, dtype)
    e = element(written)
    narrow, target = e.narrow, e.number
    G, T = shape.groups, shape.threads
    block = G * T
    zero = np.dtype(dtype).type(0)
    parameters, centred, scaled = kind == PARAMETERS, kind == CENTERED, kind == SCALED
    root, largest = kind == OF_NORM, kind == OF_LARGEST

    def finish_sums(
        partial,  # in (3, pieces, groups), of parameters (2, pieces, groups)
        shift,  # out (groups,), or the gradient by the bias
        slope,  # out (groups,), or the gradient by the weight
        spread,  # in (groups,), of norms
        groups,
        pieces,
        eps,
    ):
        firsts = cuda.shared.array(block, number)
        seconds = cuda.shared.array(block, number)
        counts = cuda.shared.array(block, number)
        t = cuda.threadIdx.x
        g = t % G
        lane = t // G
        group = types.int64(cuda.blockIdx.x) * G + g
        plane = pieces * groups
        first = second = count = zero
        piece = types.int64(lane)
        if group >= groups:
            piece = pieces
        while piece < pieces:
            at = piece * groups + group
            first += partial[at]
            second += partial[at + plane]
            if not parameters:
                count += partial[at + 2 * plane]
            piece += T
        first, second, count = reduce(first, second, count, g, lane, firsts, seconds, counts)
        if lane != 0 or group >= groups:
            return
        if parameters:
            shift[group] = narrow(target(first))
            slope[group] = narrow(target(second))
            return
        if centred or scaled:
            second /= count
            first = first / count if centred else zero
        else:
            first = zero
            norm = spread[group]
            if root:
                norm = math.sqrt(norm)
            if largest:
                second /= count
            if norm < eps:
                second = zero
        shift[group] = narrow(target(first))
        slope[group] = narrow(target(second))

    n = f"{dtype}*"
    arguments = n, e.pointer, e.pointer, n, "int64", "int64", dtype
    return Kernel(
        finish_sums, arguments, name=f"finish_sums {dtype} {kind} {written}", threads=block
    )


class Gradient(NamedTuple):
    """What tells kernels that write gradients apart."""

    dtype: str
    kind: str
    parameters: str | None = None  # dtype of the weight
    masked: bool = False
    varying: bool = True  # whether statistics differ along d
    weights_vary: bool = True
    run: int = 1  # numbers along d that a thread reads


@functools.cache
def write(variant: Gradient, depth: int) -> Kernel:
    """The gradient by x, of known shift and slope; 0 where it is masked."""
    e = element(variant.dtype)
    parameter = element(variant.parameters or variant.dtype)
    number, stored, widen, narrow = e.number, e.stored, e.widen, e.narrow
    to_number = parameter.widen
    V, masked = variant.run, variant.masked
    weighted, kind = variant.parameters is not None, variant.kind
    varying, weights_vary = variant.varying, variant.weights_vary
    place = coordinates(depth)
    zero, one = np.dtype(number.name).type(0), np.dtype(number.name).type(1)
    by_given, largest, magnitudes = kind == GIVEN, kind == OF_LARGEST, kind == OF_MAGNITUDES
    block = MAP_BLOCK

    def write_gradient(
        x,  # in (a, b, c, d)
        cotangent,  # in, as x
        mask,  # in, as x
        weight,  # in, as x
        high,  # in, center, as x
        low,  # in, what is added to it, as high
        factor,  # in, as high
        shift,  # in, as high
        slope,  # in, as high
        y,  # out, as x
        size,  # runs
        b, c, d,  # lengths, d in runs
        b_factor, b_shift, c_factor, c_shift, d_factor, d_shift,
        x_a, x_b, x_c, x_d,
        g_a, g_b, g_c, g_d,
        mask_a, mask_b, mask_c, mask_d,
        weight_a, weight_b, weight_c, weight_d,
        high_a, high_b, high_c, high_d,
        y_a, y_b, y_c, y_d,
    ):  # fmt: skip
        index = types.uint32(cuda.blockIdx.x * block + cuda.threadIdx.x)
        if index >= size:
            return
        i, j, k, m = place(index, b, c, d, b_factor, b_shift, c_factor, c_shift, d_factor, d_shift)
        m *= V
        raw = cuda.local.array(V, stored)
        raw_g = cuda.local.array(V, stored)
        load_run(raw, 0, x, i * x_a + j * x_b + k * x_c + m * x_d, V)
        load_run(raw_g, 0, cotangent, i * g_a + j * g_b + k * g_c + m * g_d, V)
        stat = i * high_a + j * high_b + k * high_c + m * high_d
        place_of_weight = i * weight_a + j * weight_b + k * weight_c + m * weight_d
        place_of_mask = i * mask_a + j * mask_b + k * mask_c + m * mask_d
        center = rest = moved = along = zero
        w = zero
        for v in range(V):
            if v == 0 or varying:
                at = stat + v * high_d
                scale = factor[at]
                if not by_given:
                    center = high[at]
                    rest = low[at]
                    moved = shift[at]
                    along = slope[at]
            if weighted and (v == 0 or weights_vary):
                w = number(to_number(weight[place_of_weight + v * weight_d]))
            result = widen(raw_g[v])
            if weighted:
                result *= w
            number_x = widen(raw[v])
            if largest or magnitudes:
                sign = number_x
                if number_x > zero:
                    sign = one
                if number_x < zero:
                    sign = -one
                if magnitudes or abs(number_x) == center or center != center:
                    result -= sign * along
            elif not by_given:
                result = result - moved - (number_x - center - rest) * scale * along
            result *= scale
            if masked and not mask[place_of_mask + v * mask_d]:
                result = zero
            raw[v] = narrow(result)
        store_run(y, i * y_a + j * y_b + k * y_c + m * y_d, raw, 0, V)

    arguments = (
        e.pointer, e.pointer, "uint8*", parameter.pointer, *[f"{number.name}*"] * 5, e.pointer,
        *["uint32"] * 4, *DIVISORS, *MAP_STRIDES * 6,
    )  # fmt: skip
    name = f"write_gradient {variant} {depth}"
    return Kernel(write_gradient, arguments, name=name, threads=block)
