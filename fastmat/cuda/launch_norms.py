"""Geometry of the normalizations, as data."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

# Threads of a row, by the accesses of a row that they can make: (accesses, threads). Up to a
# warp, rows share a block; a longer row has a block for itself.
ROW_THREADS = ((4, 2), (16, 4), (32, 8), (64, 16), (256, 32), (512, 64), (1024, 128), (2048, 256),
               (4096, 512), (8192, 1024))  # fmt: skip
SMALL_BLOCK = 256  # threads of blocks that are made of several rows
NUMBERS = 32  # of 4 bytes, that a thread holds of a row
MORE_NUMBERS = 24  # the same if it has other things to hold, and there are 1024
THREADS, MORE_THREADS = 1024, 768  # that a multiprocessor has registers for
GRADIENT_NUMBERS = 16  # the same of each of two arrays
GRADIENT_THREADS = 512  # of a row, at most
GRADIENT_PIECES = 512  # of the rows, for gradients by weights, at most
FEW_ROWS, LONG_ROW = 64, 8192  # so few rows, at least so long, are read in pieces


class Rows(NamedTuple):
    """How a block reads rows."""

    threads: int  # of a row
    rows: int  # of a block
    runs: int  # accesses of a thread
    blocks: int  # of a multiprocessor, at least


@functools.cache
def rows_for(
    n: int, itemsize: int, run: int, numbers: int = NUMBERS, more: bool = False
) -> Rows | None:
    """How rows of n numbers are read, in accesses of `run` of them; None if they are too long.

    `more` says that a thread needs registers for other things as well.
    """
    accesses = -(-n // run)
    words = run * max(itemsize, 4) // 4  # of an access; halves are widened to 4 bytes
    for most, threads in ROW_THREADS:
        held = numbers if threads < 1024 or not more else MORE_NUMBERS
        if accesses <= min(most, threads * (held // words)):
            runs = max(-(-accesses // threads), 1)
            rows = max(SMALL_BLOCK // threads, 1) if threads <= 32 else 1
            resident = MORE_THREADS if more else THREADS
            return Rows(threads, rows, runs, max(resident // (threads * rows), 1))
    return None


@functools.cache
def gradient_rows_for(n: int, itemsize: int, run: int) -> Rows | None:
    """The same for gradients, where a thread holds numbers of two arrays, and two sums of each."""
    found = rows_for(n, itemsize, run, GRADIENT_NUMBERS)
    if found is None or found.threads > GRADIENT_THREADS:
        return None
    return found._replace(blocks=max(512 // (found.threads * found.rows), 1))


class Shape(NamedTuple):
    """How a block reads groups."""

    groups: int  # at a time
    threads: int  # of a group, a power of 2
    across: bool  # whether neighbouring threads read neighbouring groups


AT_ONCE = 16  # numbers that a thread reads before it works on them
GROUP_BLOCK = Shape(8, 32, True)  # combines the pieces of groups
_LONG = Shape(1, 256, False)
_SHORT = Shape(8, 32, False)
_ACROSS = Shape(32, 8, True)
_BLOCKS = 1024  # that keep a GPU busy
_MOST_PIECES = 512


@functools.cache
def shape_for(count: int, across: bool) -> Shape:
    """How groups of so many numbers are read."""
    if across:
        return _ACROSS
    return _LONG if count > 1024 else _SHORT


@functools.cache
def pieces_for(groups: int, count: int, shape: Shape) -> tuple[int, int]:
    """Number of pieces, and length of one, of each group."""
    tiles = max(-(-groups // shape.groups), 1)
    step = shape.threads * AT_ONCE
    wanted = min(max(-(-_BLOCKS // tiles), 1), _MOST_PIECES, max(count // (2 * step), 1))
    length = max(math.ceil(count / (wanted * step)) * step, step)
    return max(-(-count // length), 1), length


MAP_BLOCK = 256  # threads that map an array
