"""Geometry of copies, of transposes and of what else moves items."""

from __future__ import annotations

from typing import NamedTuple

WIDE = 16  # bytes of the longest access
MOST = 2**31 - 1  # items of a launch, and blocks

THREADS = 256
BLOCKS = 4  # that a multiprocessor can hold, at least
AXES = 6  # of a copy of items
BATCH_AXES = 4  # of tiles

# By the size of items: how many a thread has in flight, and how many a block moves of a matrix
# with a short side.
EACH = {1: 8, 2: 8, 4: 8, 8: 4, 16: 4}
THIN_ITEMS = {1: 4096, 2: 4096, 4: 4096, 8: 2048, 16: 1024}

FEW_BYTES = 1024  # of matrices that are not worth a tile


class Tile(NamedTuple):
    """The extents of a tile, in items."""

    rows: int
    columns: int


TILES = {1: Tile(128, 128), 2: Tile(64, 128), 4: Tile(64, 64), 8: Tile(32, 64), 16: Tile(32, 32)}
SMALL = {2: Tile(64, 64), 4: Tile(32, 32), 8: Tile(16, 16), 16: Tile(8, 8)}
