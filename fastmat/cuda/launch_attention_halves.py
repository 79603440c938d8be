"""Geometry of attention on tensor cores."""

from __future__ import annotations

from typing import NamedTuple


class Warps(NamedTuple):
    """How a block of warps walks through its operands."""

    size: int  # items of a query, of a key, of a value: 32, 64, 128 or 256
    blocks: int  # of 16 queries that a warp has
    keys: int  # of a tile
    warps: int = 4

    @property
    def rows(self) -> int:
        """Queries of a block."""
        return 16 * self.blocks * self.warps

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * self.warps

    @property
    def line(self) -> int:
        """Bytes of a row in shared memory."""
        return 2 * self.size

    @property
    def of_queries(self) -> int:
        """Bytes of shared memory that queries take."""
        return self.rows * self.line

    @property
    def of_tile(self) -> int:
        """Bytes of shared memory that a tile of keys takes."""
        return self.keys * self.line

    @property
    def of_weights(self) -> int:
        """Bytes in which a warp lays out weights where values are not finite."""
        return 16 * self.keys * 4

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        return self.of_queries + 4 * self.of_tile + self.warps * self.of_weights

    @property
    def shared_of_gradients(self) -> int:
        """The same, where a block has rows of two operands."""
        return self.shared + self.of_queries


def warps_for(depth: int, width: int, mask: str | None) -> Warps | None:
    """The geometry for a depth and a width; None if they are too large."""
    largest = max(depth, width)
    blocks = 2 if mask in (None, "causal", "bool") else 1  # there are registers for so many
    if largest <= 64:
        return Warps(32 if largest <= 32 else 64, blocks, 64)
    if largest <= 128:
        return Warps(128, blocks, 32)
    return Warps(256, 1, 32) if largest <= 256 else None


def gradient_warps_for(depth: int, width: int) -> Warps | None:
    """The geometry of gradients; None if depth and width are too large."""
    largest = max(depth, width)
    if largest <= 64:
        return Warps(32 if largest <= 32 else 64, 1, 64)
    return Warps(128, 1, 32) if largest <= 128 else None
