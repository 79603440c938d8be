"""Tiles of the operands of tensor cores in shared memory, and the order of blocks."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import cuda

from fastmat.cuda.intrinsics_tensor import copy_async


class Tile(NamedTuple):
    """How a product is cut."""

    rows: int  # of c that a block computes
    columns: int
    depth: int  # items along k of one stage
    warp_rows: int
    warp_columns: int
    stages: int
    group: int = 8  # rows of blocks that follow each other
    blocks: int = 1  # on a multiprocessor at the same time

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.rows // self.warp_rows * (self.columns // self.warp_columns) * 32

    def shared(self, itemsize: int) -> int:
        """Bytes of shared memory."""
        return self.stages * (self.rows + self.columns) * self.depth * itemsize


class Layout(NamedTuple):
    """How the tile of one operand lies in shared memory: lines of chunks of 16 bytes.

    A line is a run of contiguous items in global memory, along k (`along_k`) or across it. The
    chunks of a line are permuted (`swizzle` says by which numbers), so that reading a fragment
    meets each bank once.
    """

    along_k: bool
    lines: int
    chunks: int
    per_chunk: int
    blocked: bool = False  # all lines of the first 8 chunks come before those of the next 8

    @property
    def line_bytes(self) -> int:
        """From one line to the next."""
        return 128 if self.blocked else self.chunks * 16

    @property
    def size(self) -> int:
        """Bytes of the tile."""
        return self.lines * self.chunks * 16


def layout(along_k: bool, across: int, depth: int, itemsize: int, blocked: bool = False) -> Layout:
    """The layout of a tile of `across` rows or columns."""
    per_chunk = 16 // itemsize
    if along_k:
        return Layout(True, across, depth // per_chunk, per_chunk, blocked)
    return Layout(False, depth, across // per_chunk, per_chunk, blocked)


@functools.cache
def swizzle(chunks: int, paired: bool):
    """The number that the chunks of a line are XORed with.

    `paired`: fragments are read by words of 4 or 8 bytes, so that chunks stay in pairs.
    """
    if paired:

        @cuda.jit(device=True, forceinline=True)
        def permutation(line):
            return (line & np.uint32(3)) << np.uint32(1)

    elif chunks >= 8:

        @cuda.jit(device=True, forceinline=True)
        def permutation(line):
            return line & np.uint32(7)

    else:
        # Two lines of 4 chunks fill the banks once.
        @cuda.jit(device=True, forceinline=True)
        def permutation(line):
            return (line >> np.uint32(1)) & np.uint32(3)

    return permutation


@functools.cache
def filler(tile: Layout, threads: int, paired: bool, width: int):
    """Device functions that start the copies of a tile: `first` and `fill`.

    ``fill(to, source, at, stride, lines, items, full, thread)``: the tile begins at ``at -
    first(stride, thread)`` in `source`; `lines` and `items` are how many lines and items of a line
    there are from there on (`full`: all that the tile holds); zeros stand for all others. `width`
    bytes are copied at once.
    """
    CHUNKS, PER_CHUNK, LINE = np.uint32(tile.chunks), tile.per_chunk, np.uint32(tile.line_bytes)
    TURNS = tile.lines * tile.chunks // threads
    PER_TURN = threads // tile.chunks
    PIECES = 16 // width
    PER_PIECE = PER_CHUNK // PIECES
    ITEM = 16 // PER_CHUNK
    WIDTH = np.uint32(width)
    copy, copy_part = copy_async(width), copy_async(width, True)
    permutation = swizzle(tile.chunks, paired)
    assert TURNS * threads == tile.lines * tile.chunks
    assert PER_TURN * tile.chunks == threads

    if tile.blocked:
        BLOCK = np.uint32(tile.lines * 128)

        @cuda.jit(device=True, forceinline=True)
        def place_of(line, chunk):
            within = (chunk & np.uint32(7)) ^ permutation(line)
            return (chunk >> np.uint32(3)) * BLOCK + line * LINE + (within << np.uint32(4))

    else:

        @cuda.jit(device=True, forceinline=True)
        def place_of(line, chunk):
            return line * LINE + ((chunk ^ permutation(line)) << np.uint32(4))

    @cuda.jit(device=True, forceinline=True)
    def first(stride, thread):
        line, chunk = thread // CHUNKS, thread % CHUNKS
        return np.int64(line) * stride + np.int64(chunk * np.uint32(PER_CHUNK))

    @cuda.jit(device=True, forceinline=True)
    def fill(to, source, at, stride, lines, items, full, thread):
        chunk = thread % CHUNKS
        line = thread // CHUNKS
        step = PER_TURN * stride
        if full:
            for turn in range(TURNS):
                row = np.uint32(line + np.uint32(turn * PER_TURN))
                place = np.uint32(to + place_of(row, chunk))
                for piece in range(PIECES):
                    copy(place + np.uint32(piece) * WIDTH, source, at + piece * PER_PIECE)
                at += step
        else:
            left = np.int32(np.int32(items) - np.int32(chunk * np.uint32(PER_CHUNK)))
            for turn in range(TURNS):
                row = np.uint32(line + np.uint32(turn * PER_TURN))
                place = np.uint32(to + place_of(row, chunk))
                here = left if np.int32(row) < np.int32(lines) else np.int32(0)
                for piece in range(PIECES):
                    count = np.int32(here - np.int32(piece * PER_PIECE))
                    count = min(max(count, np.int32(0)), np.int32(PER_PIECE))
                    copy_part(
                        place + np.uint32(piece) * WIDTH,
                        source,
                        at + piece * PER_PIECE,
                        np.uint32(count * np.int32(ITEM)),
                    )
                at += step

    return first, fill


@functools.cache
def block_order(rows: int, columns: int, group: int):
    """``first_of(block, m, n, corner)``: where the tile of a block begins.

    Blocks that follow each other share rows of b, and `group` rows of blocks columns of it, while
    these are in the cache.
    """
    ROWS, COLUMNS, GROUP = np.int32(rows), np.int32(columns), np.int32(group)

    @cuda.jit(device=True, forceinline=True)
    def first_of(block, m, n, corner):
        down = (m + ROWS - np.int32(1)) // ROWS
        along = (n + COLUMNS - np.int32(1)) // COLUMNS
        size = GROUP * along
        number = block // size
        top = number * GROUP
        height = min(down - top, GROUP)
        within = block - number * size
        corner[0] = (top + within % height) * ROWS
        corner[1] = (within // height) * COLUMNS

    return first_of
