"""How kernels see each dtype: what lies in memory, what is computed with, and the way between."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.cuda.intrinsics import (
    bfloat_of_float,
    float_of_bfloat,
    float_of_half,
    half_of_float,
)


class Element(NamedTuple):
    """One dtype in kernels.

    Memory holds `stored` (float16 and bfloat16 as their bits); registers hold `number`
    (float32 for both of these); `widen` and `narrow` convert.
    """

    stored: Any  # Numba type
    number: Any  # Numba type
    widen: Callable[[Any], Any]
    narrow: Callable[[Any], Any]
    itemsize: int

    @property
    def pointer(self) -> str:
        """The argument of a `Kernel` that points at such numbers."""
        return f"{self.stored.name}*"

    @property
    def run(self) -> int:
        """How many are read by one access of 16 bytes."""
        return max(1, 16 // self.itemsize)


@cuda.jit(device=True)
def as_it_is(x):
    return x


@functools.cache
def element(dtype: str) -> Element:
    """How kernels see a dtype."""
    if dtype == "float16":
        return Element(types.uint16, types.float32, float_of_half, half_of_float, 2)
    if dtype == "bfloat16":
        return Element(types.uint16, types.float32, float_of_bfloat, bfloat_of_float, 2)
    if dtype == "bool":
        return Element(types.uint8, types.uint8, as_it_is, as_it_is, 1)
    kind = getattr(types, dtype)
    return Element(kind, kind, as_it_is, as_it_is, np.dtype(dtype).itemsize)
