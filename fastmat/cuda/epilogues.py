"""Epilogues by name, and those of linear layers, as device functions."""

from __future__ import annotations

import functools
import math
from typing import Any

from numba import cuda, types

from fastmat.cuda.semirings import device_function

REAL = ("float16", "bfloat16", "float32", "float64")
INTEGERS = tuple(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))
COMPLEX = ("complex64", "complex128")
NAMED = {  # epilogues, and the dtypes that they are defined for
    "relu": (*REAL, *INTEGERS),
    "gelu": REAL,
    "silu": REAL,
    "bias": (*REAL, *INTEGERS, *COMPLEX, "bool"),
    "bias_relu": (*REAL, *INTEGERS),
    "bias_gelu": REAL,
    "bias_silu": REAL,
    "relu_slope": REAL,
    "gelu_slope": REAL,
    "silu_slope": REAL,
    "relu_slope_unbiased": REAL,
    "gelu_slope_unbiased": REAL,
    "silu_slope_unbiased": REAL,
}


@functools.cache
def named_epilogue(name: str, kind: Any) -> Any:
    """The function of an epilogue in `NAMED`, for numbers of this type."""
    zero, one = kind(0), kind(1)
    if not isinstance(kind, types.Float):

        def relu(x):
            return zero if x < zero else x

        def bias(x, y):
            return x + y

        def bias_relu(x, y):
            return relu_of(kind(x + y))

        relu_of = cuda.jit(device=True, forceinline=True)(relu)
        functions = {"relu": relu, "bias": bias, "bias_relu": bias_relu}
        return cuda.jit(device=True, forceinline=True)(functions[name])
    half, root_half = kind(0.5), kind(math.sqrt(0.5))
    density_scale = kind(math.sqrt(0.5 / math.pi))

    @cuda.jit(device=True, forceinline=True)
    def relu(x):
        return zero if x < zero else x

    @cuda.jit(device=True, forceinline=True)
    def gelu(x):
        return x * (half + half * math.erf(x * root_half))

    @cuda.jit(device=True, forceinline=True)
    def silu(x):
        return x / (one + math.exp(-x))

    @cuda.jit(device=True, forceinline=True)
    def bias(x, y):
        return x + y

    @cuda.jit(device=True, forceinline=True)
    def bias_relu(x, y):
        return relu(x + y)

    @cuda.jit(device=True, forceinline=True)
    def bias_gelu(x, y):
        return gelu(x + y)

    @cuda.jit(device=True, forceinline=True)
    def bias_silu(x, y):
        return silu(x + y)

    @cuda.jit(device=True, forceinline=True)
    def relu_slope(x, y, cotangent):
        return cotangent if x + y > zero else zero

    @cuda.jit(device=True, forceinline=True)
    def gelu_slope(x, y, cotangent):
        z = x + y
        density = math.exp(-half * z * z) * density_scale
        return cotangent * (half + half * math.erf(z * root_half) + z * density)

    @cuda.jit(device=True, forceinline=True)
    def silu_slope(x, y, cotangent):
        z = x + y
        share = one / (one + math.exp(-z))
        return cotangent * share * (one + z * (one - share))

    @cuda.jit(device=True, forceinline=True)
    def relu_slope_unbiased(x, cotangent):
        return relu_slope(x, zero, cotangent)

    @cuda.jit(device=True, forceinline=True)
    def gelu_slope_unbiased(x, cotangent):
        return gelu_slope(x, zero, cotangent)

    @cuda.jit(device=True, forceinline=True)
    def silu_slope_unbiased(x, cotangent):
        return silu_slope(x, zero, cotangent)

    found = (
        relu, gelu, silu, bias, bias_relu, bias_gelu, bias_silu, relu_slope, gelu_slope,
        silu_slope, relu_slope_unbiased, gelu_slope_unbiased, silu_slope_unbiased,
    )  # fmt: skip
    return {function.__name__: function for function in found}[name]


@functools.lru_cache(maxsize=256)
def after_bias(activation: Any) -> Any:
    """The scalar function that adds a bias, and then applies one of the user."""
    apply = device_function(activation)

    def biased(x, bias):
        return apply(x + bias)

    biased.__name__ = getattr(activation, "__name__", str(activation))
    return biased
