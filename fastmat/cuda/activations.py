"""Activations as device functions, by name or made of a user's own."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

_ROOT_HALF = 0.7071067811865476


@functools.cache
def activation_of(activation: Any, number: Any) -> Callable[[Any], Any]:
    """The device function; of `activation` a name, None or a dispatcher of Numba."""
    kind = np.dtype(number.name).type
    half, root_half = kind(0.5), kind(_ROOT_HALF)

    @cuda.jit(device=True, forceinline=True)
    def nothing(x):
        return x

    @cuda.jit(device=True, forceinline=True)
    def relu(x):
        return number(0) if x < number(0) else x

    @cuda.jit(device=True, forceinline=True)
    def gelu(x):
        return x * (half + half * math.erf(x * root_half))

    @cuda.jit(device=True, forceinline=True)
    def silu(x):
        return x / (number(1) + math.exp(-x))

    known = {None: nothing, "relu": relu, "gelu": gelu, "silu": silu}
    if activation in known:
        return known[activation]
    return cuda.jit(device=True)(activation.py_func)
