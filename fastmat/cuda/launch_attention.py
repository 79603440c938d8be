"""Geometry of attention: tiles, chunks and threads."""

from __future__ import annotations

from typing import NamedTuple

from fastmat.cuda.elements import element

LANES = 16  # threads along the columns of a tile of scores
KEYS = 64  # columns of a tile of scores: a thread has every sixteenth
WIDEST = {"float32": 4, "float64": 2}  # chunks of values that one block accumulates


class Tiles(NamedTuple):
    """How a block walks through its operands.

    A tile of scores has `rows` rows and `KEYS` columns. Operands come through shared memory in
    chunks of `chunk` columns.
    """

    number: str  # what is computed with
    chunk: int
    depth_chunks: int
    width_chunks: int
    resident: bool = True  # whether queries stay in shared memory
    rows: int = 64
    per_thread: int = 4  # rows of scores that a thread has

    @property
    def threads(self) -> int:
        """Threads of a block, in groups of `LANES` that share their rows."""
        return LANES * self.groups

    def blocks(self, mask: str | None) -> int:
        """Blocks that a multiprocessor must have registers for."""
        if self.threads == 128 and self.width_chunks == 1 and mask in (None, "causal"):
            return 3
        return 256 // self.threads

    @property
    def groups(self) -> int:
        """Groups of lanes."""
        return self.rows // self.per_thread

    @property
    def run(self) -> int:
        """Numbers of one access of 16 bytes."""
        return element(self.number).run

    @property
    def stride(self) -> int:
        """Distance of rows of a chunk: neighbours begin four banks apart."""
        return self.chunk + self.run

    @property
    def stride_of_weights(self) -> int:
        """Distance of rows of weights: neighbours begin in the other half of the banks."""
        return KEYS + 4 * self.run

    @property
    def of_queries(self) -> int:
        """Numbers of shared memory that queries take."""
        return (self.depth_chunks if self.resident else 1) * self.rows * self.stride

    @property
    def of_weights(self) -> int:
        """Numbers of shared memory that weights take."""
        return self.rows * self.stride_of_weights

    @property
    def of_chunk(self) -> int:
        """Numbers of shared memory that a chunk of keys or values takes."""
        return KEYS * self.stride

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        items = self.of_queries + self.of_weights + 2 * self.of_chunk
        return items * element(self.number).itemsize


def tiles_for(number: str, depth: int, width: int, limit: int = 227 * 1024) -> Tiles:
    """Tiles for a depth and a width that fit in so many bytes of shared memory."""
    chunks = (32,) if max(depth, width) <= 32 else (64, 32)
    for rows in (64, 32):
        for chunk in chunks:
            depth_chunks = max(1, -(-depth // chunk))
            width_chunks = max(1, min(WIDEST[number], -(-width // chunk)))
            per_thread = 8 if number == "float32" and width_chunks <= 2 else 4
            for resident in (True, False):
                tiles = Tiles(number, chunk, depth_chunks, width_chunks, resident, rows, per_thread)
                if tiles.shared <= limit:
                    return tiles
    return tiles


class Walk(NamedTuple):
    """How a block walks through its operands."""

    tiles: Tiles  # its chunks are those that a block accumulates
    depth_chunks: int
    width_chunks: int
    resident: bool  # whether the block's own rows stay in shared memory

    @property
    def slab(self) -> int:
        """Chunks of a gradient that a block accumulates."""
        return self.tiles.width_chunks

    @property
    def slabs(self) -> int:
        """How many blocks accumulate the chunks of a gradient."""
        return -(-max(self.depth_chunks, self.width_chunks) // self.slab)

    @property
    def of_rows(self) -> int:
        """Numbers of shared memory for the block's own rows."""
        chunks = self.depth_chunks + self.width_chunks if self.resident else 1
        return chunks * self.tiles.rows * self.tiles.stride

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        items = self.of_rows + self.tiles.of_weights + 2 * self.tiles.of_chunk
        return items * element(self.tiles.number).itemsize


def walk_for(
    number: str, depth: int, width: int, mask: str | None, limit: int = 227 * 1024
) -> Walk:
    """The walk for a depth and a width that fits in so many bytes of shared memory."""
    simple = number == "float32" and mask in (None, "causal")  # leaves registers
    chunks = (32,) if max(depth, width) <= 32 else (64, 32)
    for rows in (64, 32):
        for chunk in chunks:
            counts = [max(1, -(-size // chunk)) for size in (depth, width)]
            slab = min(max(counts), 1 if number == "float64" else 2)
            per_thread = 8 if simple and slab == 1 else 4
            tiles = Tiles(number, chunk, 1, slab, True, rows, per_thread)
            for resident in (True, False):
                walk = Walk(tiles, *counts, resident)
                if walk.shared <= limit:
                    return walk
    return walk
