"""Sums over the threads that share a row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba import cuda

WARP = 32
ALL = 0xFFFFFFFF


@functools.cache
def row_sum(number: Any, threads: int) -> Callable[..., Any]:
    """A device function: the sum over neighbouring threads, a power of 2, in each of them.

    With more than a warp they are the whole block; `words` is shared memory for a number of each
    warp, that is not used again.
    """
    width = min(threads, WARP)
    warps = max(threads // WARP, 1)

    @cuda.jit(device=True, forceinline=True)
    def lanes(x, width):
        distance = width >> 1
        while distance > 0:
            x += cuda.shfl_xor_sync(ALL, x, distance)
            distance >>= 1
        return x

    @cuda.jit(device=True, forceinline=True)
    def reduce(x, words):
        x = lanes(x, width)
        if warps > 1:
            t = cuda.threadIdx.x
            if t & 31 == 0:
                words[t >> 5] = x
            cuda.syncthreads()
            x = lanes(words[t & (warps - 1)], warps)
        return x

    return reduce


@functools.cache
def row_sums(number: Any, threads: int) -> Callable[..., Any]:
    """The same for two sums at once."""
    width = min(threads, WARP)
    warps = max(threads // WARP, 1)

    @cuda.jit(device=True, forceinline=True)
    def lanes(x, y, width):
        distance = width >> 1
        while distance > 0:
            x += cuda.shfl_xor_sync(ALL, x, distance)
            y += cuda.shfl_xor_sync(ALL, y, distance)
            distance >>= 1
        return x, y

    @cuda.jit(device=True, forceinline=True)
    def reduce(x, y, words):
        x, y = lanes(x, y, width)
        if warps > 1:
            t = cuda.threadIdx.x
            if t & 31 == 0:
                words[t >> 5] = x
                words[WARP + (t >> 5)] = y
            cuda.syncthreads()
            at = t & (warps - 1)
            x, y = lanes(words[at], words[WARP + at], warps)
        return x, y

    return reduce
