"""Normalization by statistics that are known, of arrays with any strides."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.cuda.activations import activation_of
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_norms import MAP_BLOCK
from fastmat.cuda.strided import quotient

MAP_STRIDES = ("int64",) * 4  # along a, b, c and d
DIVISORS = ("uint32",) * 6  # factor and shift of the lengths of b, c and d


class Map(NamedTuple):
    """What tells maps of numbers with statistics apart."""

    dtype: str
    parameters: str | None = None  # dtype of weight and bias
    weight: bool = False
    bias: bool = False
    masked: bool = False
    varying: bool = True  # whether statistics differ along d
    weights_vary: bool = True
    activation: Any = None
    run: int = 1  # numbers along d that a thread reads


@functools.cache
def coordinates(depth: int) -> Any:
    """A device function: place along a, b, c and d, of which the last `depth` count."""

    @cuda.jit(device=True, forceinline=True)
    def place(index, b, c, d, b_factor, b_shift, c_factor, c_shift, d_factor, d_shift):
        zero = types.int64(0)
        if depth == 1:
            return zero, zero, zero, types.int64(index)
        m = quotient(index, d_factor, d_shift)
        last = types.int64(index - types.uint32(m * d))
        if depth == 2:
            return zero, zero, types.int64(m), last
        n = quotient(m, c_factor, c_shift)
        third = types.int64(m - types.uint32(n * c))
        if depth == 3:
            return zero, types.int64(n), third, last
        first = quotient(n, b_factor, b_shift)
        return types.int64(first), types.int64(n - types.uint32(first * b)), third, last

    return place


@functools.cache
def apply(variant: Map, depth: int) -> Kernel:
    """``(x - center) * factor * weight + bias``; 0 where it is masked."""
    e = element(variant.dtype)
    parameter = element(variant.parameters or variant.dtype)
    number, stored, widen, narrow = e.number, e.stored, e.widen, e.narrow
    to_number = parameter.widen
    V = variant.run
    weighted, biased, masked = variant.weight, variant.bias, variant.masked
    varying, weights_vary = variant.varying, variant.weights_vary
    mapped = variant.activation is not None
    activation = activation_of(variant.activation, number)
    place = coordinates(depth)
    zero = np.dtype(number.name).type(0)
    block = MAP_BLOCK

    def apply_statistics(
        x,  # in (a, b, c, d)
        mask,  # in, as x
        weight,  # in, as x
        bias,  # in, as weight
        high,  # in, center, as x
        low,  # in, what is added to it, as high
        factor,  # in, as high
        y,  # out, as x
        size,  # runs
        b, c, d,  # lengths, d in runs
        b_factor, b_shift, c_factor, c_shift, d_factor, d_shift,
        x_a, x_b, x_c, x_d,
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
        at = i * x_a + j * x_b + k * x_c + m * x_d
        load_run(raw, 0, x, at, V)
        stat = i * high_a + j * high_b + k * high_c + m * high_d
        place_of_weight = i * weight_a + j * weight_b + k * weight_c + m * weight_d
        place_of_mask = i * mask_a + j * mask_b + k * mask_c + m * mask_d
        center = high[stat]
        rest = low[stat]
        scale = factor[stat]
        w = b_ = zero
        if weighted:
            w = number(to_number(weight[place_of_weight]))
        if biased:
            b_ = number(to_number(bias[place_of_weight]))
        for v in range(V):
            if varying and v > 0:
                center = high[stat + v * high_d]
                rest = low[stat + v * high_d]
                scale = factor[stat + v * high_d]
            if weights_vary and v > 0:
                if weighted:
                    w = number(to_number(weight[place_of_weight + v * weight_d]))
                if biased:
                    b_ = number(to_number(bias[place_of_weight + v * weight_d]))
            result = (widen(raw[v]) - center - rest) * scale
            if weighted:
                result *= w
            if biased:
                result += b_
            if mapped:
                result = activation(result)
            if masked and not mask[place_of_mask + v * mask_d]:
                result = zero
            raw[v] = narrow(result)
        store_run(y, i * y_a + j * y_b + k * y_c + m * y_d, raw, 0, V)

    arguments = (
        e.pointer, "uint8*", *[parameter.pointer] * 2, *[f"{number.name}*"] * 3, e.pointer,
        *["uint32"] * 4, *DIVISORS, *MAP_STRIDES * 5,
    )  # fmt: skip
    named = not callable(variant.activation)
    name = f"apply_statistics {variant} {depth}" if named else None
    return Kernel(apply_statistics, arguments, name=name, threads=block)
