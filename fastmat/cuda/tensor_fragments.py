"""How the fragments of tensor cores are read from tiles in shared memory.

Each function here makes two device functions. ``place(lane, first, origin, found)`` tells where a
lane reads in a tile at `origin` bytes from the beginning of shared memory, for a warp whose rows
(columns of b) begin at `first`: the bytes to `load` from, and those that are XORed there.
``load(target, j, start, bits, step)`` reads the fragments of `count` times 16 rows at a step along
k.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import cuda, types

from fastmat.cuda.intrinsics_tensor import load_matrices, round_to_tf32, shared_address
from fastmat.cuda.tensor_tiles import Layout, swizzle

_U4 = np.uint32(4)


@functools.cache
def by_ldmatrix(tile: Layout, count: int, of_b: bool, rounded: bool):
    """By ldmatrix: halves, and float32 in lines along k."""
    LINE = np.uint32(tile.line_bytes)
    SIXTEEN = np.uint32(16 * tile.line_bytes)
    COUNT = count
    ALONG_K = tile.along_k
    # Matrices 1 and 2 of 4 change places between a (16 x 16) and b (two of 16 x 8), and between
    # lines along k and across it.
    SWAPPED = of_b == tile.along_k
    ROUNDED = rounded
    permutation = swizzle(tile.chunks, False)
    matrices = load_matrices(4, not tile.along_k)

    @cuda.jit(device=True, forceinline=True)
    def place(lane, first, origin, found):
        origin += shared_address(cuda.shared.array(0, types.uint32))
        if SWAPPED:
            line = (lane & np.uint32(7)) + ((lane >> _U4) << np.uint32(3))
            chunk = (lane >> np.uint32(3)) & np.uint32(1)
        else:
            line = lane & np.uint32(15)
            chunk = lane >> _U4
        if ALONG_K:
            found[0] = origin + (first + line) * LINE
        else:
            found[0] = origin + line * LINE
            chunk = chunk + (first >> np.uint32(3))
        found[1] = (chunk ^ permutation(line)) << _U4

    @cuda.jit(device=True, forceinline=True)
    def load(target, j, start, bits, step):
        for i in range(COUNT):
            if ALONG_K:
                at = start + np.uint32(i) * SIXTEEN + (bits ^ np.uint32(step * 32))
            else:
                at = start + np.uint32(step) * SIXTEEN + (bits ^ np.uint32(i * 32))
            matrices(target, j + 4 * i, at)
            if ROUNDED:
                for part in range(4):
                    target[j + 4 * i + part] = round_to_tf32(target[j + 4 * i + part])

    return place, load


@functools.cache
def by_words(tile: Layout, count: int, of_b: bool):
    """By words of 4 bytes: float32 in lines across k, which ldmatrix cannot transpose."""
    LINE, WORDS = np.uint32(tile.line_bytes), np.uint32(tile.line_bytes // 4)
    COUNT = count
    # Of the 4 numbers of a fragment, those of a are 8 rows on in turn, those of b 4 lines.
    ROWS_FIRST = not of_b
    permutation = swizzle(tile.chunks, True)

    @cuda.jit(device=True, forceinline=True)
    def place(lane, first, origin, found):
        line = lane & np.uint32(3)
        row = lane >> np.uint32(2)
        chunk = (first >> np.uint32(2)) + (row >> np.uint32(2))
        found[0] = origin + line * LINE + ((row & np.uint32(3)) << np.uint32(2))
        found[1] = (chunk ^ permutation(line)) << _U4

    @cuda.jit(device=True, forceinline=True)
    def load(target, j, start, bits, step):
        shared = cuda.shared.array(0, types.uint32)
        first, bits = np.uint32(start >> np.uint32(2)), np.uint32(bits >> np.uint32(2))
        for i in range(COUNT):
            for part in range(4):
                on = part & 1 if ROWS_FIRST else part >> 1
                below = part >> 1 if ROWS_FIRST else part & 1
                at = first + np.uint32(step * 8 + below * 4) * WORDS + np.uint32((i >> 1) * 32)
                at += bits ^ np.uint32((i & 1) * 16 + on * 8)
                target[j + 4 * i + part] = round_to_tf32(shared[np.uint32(at)])

    return place, load


@functools.cache
def of_doubles(tile: Layout, count: int, of_b: bool, fours: int):
    """float64, `fours` times 4 numbers along k at a step."""
    LINE, WORDS = np.uint32(tile.line_bytes), np.uint32(tile.line_bytes // 8)
    ALONG_K = tile.along_k
    COUNT, FOURS, OF_B = count, fours, of_b
    permutation = swizzle(tile.chunks, True)

    @cuda.jit(device=True, forceinline=True)
    def place(lane, first, origin, found):
        row, line = lane >> np.uint32(2), lane & np.uint32(3)
        if ALONG_K:
            found[0] = origin + (first + row) * LINE + (line << np.uint32(3))
            found[1] = permutation(row) << _U4
        else:
            chunk = (first >> np.uint32(1)) + (row >> np.uint32(1))
            found[0] = origin + line * LINE + ((row & np.uint32(1)) << np.uint32(3))
            found[1] = (chunk ^ permutation(line)) << _U4

    @cuda.jit(device=True, forceinline=True)
    def load(target, j, start, bits, step):
        shared = cuda.shared.array(0, types.float64)
        first, bits = np.uint32(start >> np.uint32(3)), np.uint32(bits >> np.uint32(3))
        for eight in range(2 * COUNT):
            for four in range(FOURS):
                deep = step * FOURS + four
                if ALONG_K:
                    at = first + np.uint32(8 * eight) * WORDS + np.uint32((deep >> 2) * 16)
                    at += bits ^ np.uint32((deep & 3) * 4)
                else:
                    at = first + np.uint32(4 * deep) * WORDS + np.uint32((eight >> 1) * 16)
                    at += bits ^ np.uint32((eight & 1) * 8)
                if OF_B:
                    place = eight * FOURS + four
                else:
                    place = (eight >> 1) * 2 * FOURS + 2 * four + (eight & 1)
                target[j + place] = shared[np.uint32(at)]

    return place, load
