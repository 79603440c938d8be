"""Geometry of products on tensor cores, as data."""

from __future__ import annotations

from typing import NamedTuple

from fastmat.cuda.tensor_tiles import Tile


class Choice(NamedTuple):
    """A tile, and what of a multiprocessor's rate it reaches where there are enough of them.

    Rates of large tiles were raced on an H200 (`benchmarks/gpu_tiles.py`).
    """

    tile: Tile
    rate: float
    wgmma: bool = False  # by warpgroups


_HALVES = (
    Choice(Tile(128, 256, 32, 64, 64, 4), 1.0),
    Choice(Tile(256, 128, 64, 64, 64, 3), 0.94),
    Choice(Tile(128, 128, 32, 64, 64, 4, 8, 2), 0.96),
    Choice(Tile(128, 64, 64, 64, 32, 4, 8, 2), 0.7),
    Choice(Tile(64, 64, 64, 32, 32, 4, 8, 2), 0.5),
    Choice(Tile(64, 64, 32, 32, 32, 4, 8, 2), 0.45),
)
# By warpgroups: compute capability 9.0 only, and lines of a and b at multiples of 16 bytes. Rates
# are relative to mma.sync.
WGMMA = (
    Choice(Tile(128, 256, 64, 64, 256, 4), 1.82, True),
    Choice(Tile(256, 128, 64, 64, 128, 4), 1.63, True),
    Choice(Tile(128, 128, 64, 64, 128, 6), 1.43, True),
)
_SINGLES = (
    Choice(Tile(128, 128, 32, 64, 32, 4), 1.0),
    Choice(Tile(128, 128, 16, 64, 32, 4), 0.71),
    Choice(Tile(64, 64, 32, 32, 32, 4, 8, 2), 0.66),
    Choice(Tile(64, 64, 16, 32, 32, 4, 8, 2), 0.5),
)
_DOUBLES = (
    Choice(Tile(128, 128, 16, 32, 64, 4), 1.0),
    Choice(Tile(128, 64, 16, 32, 32, 4), 0.91),
    Choice(Tile(64, 64, 16, 32, 32, 3, 8, 2), 0.9),
)
TILES = {"float16": _HALVES, "bfloat16": _HALVES, "float32": _SINGLES, "float64": _DOUBLES}

# The instruction for float64, by compute capability; elsewhere the general cores are as fast.
DOUBLES = {(8, 0): "float64", (9, 0): "float64 k4", (10, 0): "float64 k4"}

OLDEST = (8, 0)  # compute capability
_RESERVED = 1024  # bytes of shared memory that each block takes beside its own
SPLIT_DEPTH = 512  # items along k that a part has at least
# Costs in microseconds, on an H200:
PRODUCTS = {2: 1_420_000, 4: 490_000, 8: 226_000}  # of a multiprocessor, by itemsize
ADDING = 9.0  # of the launch that adds up parts, the work of the host included
AWAITED = 0.08  # of each part, since each sum of the result is added up by one thread
ADDED = {2: 2e-6, 4: 2e-6, 8: 4e-6}  # of writing a sum of a part and reading it again


def choose(
    choices: tuple[Choice, ...],
    m: int,
    n: int,
    k: int,
    items: int,
    itemsize: int,
    multiprocessors: int,
    shared_limit: int,
) -> tuple[Choice, int]:
    """How a product is computed soonest, and in how many parts of k."""
    best: tuple[float, Choice, int] | None = None
    for choice in choices:
        tile, rate = choice.tile, choice.rate
        shared = tile.shared(itemsize) + _RESERVED * (1 + choice.wgmma)
        if shared > shared_limit + _RESERVED:
            continue
        if shared * tile.blocks > shared_limit + _RESERVED:
            rate *= 0.8  # fewer blocks at the same time
        blocks = -(-m // tile.rows) * -(-n // tile.columns) * items
        places = multiprocessors * tile.blocks
        most = max(1, min(places // blocks, k // SPLIT_DEPTH))
        for parts in {1, *(most >> i for i in range(most.bit_length()))}:
            waves = -(-blocks * parts // places)
            products = tile.rows * tile.columns * (k / parts + 2 * tile.depth)
            time = waves * tile.blocks * products / (rate * PRODUCTS[itemsize])
            if parts > 1:
                time += ADDING + parts * (AWAITED + ADDED[itemsize] * m * n * items)
            if best is None or time < best[0]:
                best = time, choice, parts
    assert best is not None
    return best[1:]
