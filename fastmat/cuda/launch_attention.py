"""Geometry of attention: tiles, chunks and threads."""

from __future__ import annotations

from typing import NamedTuple

from fastmat.cuda.elements import element

LANES = 16  # threads along the columns of a tile of scores
KEYS = 64  # columns of a tile of scores: a thread has every sixteenth
WIDEST = {"float32": 4, "float64": 2}  # chunks of values that one block accumulates
RESIDENT = 4  # chunks of queries that stay in shared memory


class Tiles(NamedTuple):
    """How a block walks through its operands.

    A tile of scores has `rows` rows and `KEYS` columns. Operands come through shared memory in
    chunks of `chunk` columns.
    """

    number: str  # what is computed with
    chunk: int
    depth_chunks: int
    width_chunks: int

    @property
    def per_thread(self) -> int:
        """Rows of scores that a thread has."""
        return 8 if self.number == "float32" and self.width_chunks <= 2 else 4

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
        return 64 // self.per_thread

    @property
    def rows(self) -> int:
        """Rows of a tile."""
        return self.groups * self.per_thread

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
    def resident(self) -> bool:
        """Whether queries stay in shared memory."""
        return self.depth_chunks <= RESIDENT

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


def chunk_for(depth: int, width: int) -> int:
    """Columns of a chunk."""
    return 32 if max(depth, width) <= 32 else 64
