"""Geometry of products, as data."""

from __future__ import annotations

from typing import NamedTuple

from fastmat.cuda.matvec import AT_ONCE, THREADS, Shape
from fastmat.cuda.tiling import Tile


class Choice(NamedTuple):
    """A tile, and what of a multiprocessor's rate it reaches where there are enough of them.

    Rates of large tiles were raced on an H200 (`benchmarks/gpu_tiles.py`).
    """

    tile: Tile
    rate: float


TILES = {  # by bytes of the numbers that are computed with; the largest first
    4: (
        Choice(Tile(256, 128, 8, 16, 8, 4, 1), 1.0),
        Choice(Tile(128, 128, 8, 8, 8, 8, 2), 0.965),
        Choice(Tile(128, 64, 8, 8, 8, 4, 3), 0.935),
        Choice(Tile(64, 64, 8, 8, 4, 4, 4), 0.75),
        Choice(Tile(64, 32, 16, 4, 4, 8, 4), 0.55),
        Choice(Tile(32, 32, 16, 4, 4, 8, 4), 0.5),
    ),
    8: (
        Choice(Tile(128, 64, 8, 8, 4, 4, 2), 1.0),
        Choice(Tile(64, 64, 8, 4, 4, 4, 2), 0.9),
        Choice(Tile(32, 32, 8, 4, 4, 8, 4), 0.6),
    ),
    16: (
        Choice(Tile(64, 64, 8, 4, 4, 4, 1), 1.0),
        Choice(Tile(32, 32, 8, 4, 2, 4, 2), 0.7),
    ),
}
# With masks and epilogues, which take registers: no more than one block needs.
FINISHING = {
    4: (
        Choice(Tile(128, 128, 8, 8, 8, 4, 1), 1.0),
        Choice(Tile(64, 64, 8, 8, 4, 4, 2), 0.8),
        Choice(Tile(32, 32, 16, 4, 4, 8, 4), 0.5),
    ),
    8: (
        Choice(Tile(64, 64, 8, 4, 4, 4, 1), 1.0),
        Choice(Tile(32, 32, 8, 4, 4, 8, 2), 0.7),
    ),
    16: (Choice(Tile(32, 32, 8, 4, 2, 4, 1), 1.0),),
}
SPLIT_DEPTH = 128  # numbers of k that a part has at least
ENOUGH_WARPS = 9  # with which a multiprocessor reaches its rate
# Costs in microseconds, of float32 on an H200:
PRODUCTS = 173_000  # what a multiprocessor computes in one
START = 1.4  # until the first numbers of a tile have come, and from its last to the end
ADDING = 9.0  # of the launch that adds up parts, the work of the host included
AWAITED = 0.08  # of each part, since each sum of the result is added up by one thread
ADDED = 2e-6  # of writing a sum of a part and reading it again


def tile_for(
    choices: tuple[Choice, ...], m: int, n: int, k: int, items: int, multiprocessors: int
) -> tuple[Tile, int]:
    """The tile with which a product is computed soonest, and in how many parts of k."""
    best = None
    for tile, rate in choices:
        tiles = -(-m // tile.rows) * -(-n // tile.cols) * items
        for parts in _numbers_of_parts(tiles, tile.blocks, k, multiprocessors):
            blocks = -(-tiles * parts // multiprocessors)  # of a multiprocessor
            reached = rate * _with_warps_of(tile, blocks) / _with_warps_of(tile, tile.blocks)
            products = blocks * tile.rows * tile.cols * -(-k // parts)
            time = START + products / (reached * PRODUCTS)
            if parts > 1:
                time += ADDING + parts * (AWAITED + ADDED * m * n * items)
            if best is None or time < best[0]:
                best = time, tile, parts
    assert best is not None
    _, tile, parts = best
    return tile, parts


def _with_warps_of(tile: Tile, blocks: int) -> float:
    """What of its rate a multiprocessor reaches with so many blocks, or as many as it holds."""
    return min(1, min(blocks, tile.blocks) * tile.threads / (32 * ENOUGH_WARPS))


def _numbers_of_parts(tiles: int, resident: int, k: int, multiprocessors: int) -> list[int]:
    """The parts of k with which all blocks fill a few rounds of all multiprocessors."""
    most = k // SPLIT_DEPTH
    fillings = range(1, 2 * resident + 3)
    return sorted({1, *(min(most, f * multiprocessors // tiles) for f in fillings)} - {0})


LANES = (  # by how many loads a row takes: how many lanes share it
    (16, 4),
    (64, 16),
    (1024, 32),
)
LANES_ACROSS = 32  # that read neighbouring rows
VECTOR_BLOCKS = 8  # of a multiprocessor, that sums of long rows are split for
VECTOR_ROUNDS = 4  # of all loads in flight, that a part has at least


def shape_for(m: int, k: int, along_k: bool, run: int, vector_run: int) -> Shape:
    """How blocks share out a matrix that is multiplied with a vector."""
    if not along_k:
        return Shape(False, LANES_ACROSS, run)
    loads = -(-k // run)
    for most, lanes in LANES:
        if loads <= most:
            return Shape(True, lanes, run, min(run, vector_run))
    return Shape(True, THREADS if m < 4096 else 32, run, min(run, vector_run))


def parts_of_vector(shape: Shape, blocks: int, k: int, multiprocessors: int) -> tuple[int, int]:
    """In how many parts of k to sum, and how long they are."""
    numbers = shape.lanes * shape.run if shape.along_k else THREADS // shape.lanes
    least = numbers * AT_ONCE * VECTOR_ROUNDS
    parts = min(VECTOR_BLOCKS * multiprocessors // blocks, k // least)
    if parts < 2:
        return 1, k
    chunk = -(-k // parts)
    chunk = -(-chunk // least) * least
    return -(-k // chunk), chunk
