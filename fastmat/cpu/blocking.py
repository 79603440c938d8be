"""Tile shapes and block sizes of the product: data per instruction set and dtype.

The tile is what fits the registers: `rows` x `vectors` accumulators, one row of b and one
broadcast of a. A block of a (`block_rows` x `depth`) stays in the L2 cache while it is used.
"""

import functools
import platform
from dataclasses import dataclass

from numba import types
from numba.extending import intrinsic

from fastmat.core.inline import inlined
from fastmat.core.isa import ISA, VECTOR_BYTES
from fastmat.core.mathfn import real

FUSED = ISA != "baseline" or platform.machine() in ("aarch64", "arm64")
CACHE_LINE = 64
DOT_BYTES = 64  # of the vector of partial sums in a dot product: the same on every CPU
DOT_ROWS = 4  # dot products computed at once
DOT_VECTORS = 4  # vectors of partial sums in the dot product of a semiring
DOT_CHUNK = 16384  # items of a dot product that one task adds up
PREFETCH_STEPS = 64  # steps of k before its end at which a tile's place in c is prefetched
PREFETCH_TILES = 2  # how many tiles before they are read rows of an unpacked a are asked for
DIRECT_WORK = 80**3  # m * n * k up to which a product is not packed
TINY_WORK = 16**3  # the same for a product with a vector
SERIAL_WORK = 64**3  # m * n * k up to which one thread is faster than several
STACK_WORK = 256**3  # m * n * k up to which an item of a stack is one thread's work
LANES_SIDE = 4  # m, n and k up to which the items of a stack are computed in lanes
WIDTH = 8  # panels of b that one task packs and uses, where a is shared
SPLIT_AREA = 128**2  # m * n up to which long sums are split
SPLIT_PIECES = 64  # into how many pieces, at the most
STACK_LANES = 16  # items of a stack of tiny products that are computed at once
STRIDED_PANELS = 2  # panels of b up to which a is read where it lies
TASK_WORK = 2**18  # m * n * k of the items of a stack that are one task
ROWS_PER_TASK = 64  # rows of a matrix-vector product, along rows
COLUMNS = 4  # columns added up at once into one lane; `_add_columns` is written for 4
COLUMN_ROWS = 4096  # rows of a matrix-vector product, along columns: their sums stay in L2


@dataclass(frozen=True)
class Tile:
    """Shape of the micro-kernel for one dtype."""

    rows: int  # MR: rows of a in one panel
    lanes: int  # real scalars in one vector
    vectors: int  # vectors in one row of a panel of b, per part
    parts: int  # 2 for complex numbers: real and imaginary part
    depth: int  # KC: steps of k in one panel
    block_rows: int  # MC: rows of a that one task packs
    block_cols: int  # NC: columns of b that are packed at once
    unroll: int  # steps of k in one turn of the loop
    shared_rows: int  # rows of a up to which it is a that all threads share, packed
    split_depth: int  # least length of a piece of a long sum that is split
    direct_rows: int  # rows of a small product that are computed at once

    @property
    def dot_lanes(self):
        """Partial sums of a dot product."""
        return self.lanes * DOT_BYTES // VECTOR_BYTES[ISA]

    @property
    def cols(self):
        """NR: columns of b in one panel."""
        return self.vectors * self.lanes


# Per instruction set: rows and vectors of the tile. Powers of two and 12 share small multiples,
# so that 12 rows waste less of 128, 256 and 512 than 14 do, at the same rate (docs/kernels.md).
REGISTERS = {"avx512": (12, 2), "avx2": (6, 2), "baseline": (6, 2)}

# Per size of a real scalar in bytes: depth, rows and columns of the blocks, and rows of a shared
# a. A block of a takes at most half of a 1 MiB L2 cache, b as packed at most 8 MiB of L3; complex
# numbers take twice as much.
BLOCKS = {
    1: (384, 288, 4096, 384),
    2: (384, 288, 4096, 384),
    4: (384, 144, 4096, 384),
    8: (384, 144, 2048, 192),
}


@functools.cache
def tile(dtype):
    """The tile for an element dtype."""
    size = real(dtype).bitwidth // 8
    parts = 2 if isinstance(dtype, types.Complex) else 1
    rows, vectors = REGISTERS[ISA]
    depth, block_rows, block_cols, shared_rows = BLOCKS[size]
    return Tile(
        rows=rows,
        lanes=VECTOR_BYTES[ISA] // size,
        vectors=vectors // parts,
        parts=parts,
        unroll=4,
        depth=depth,
        block_rows=block_rows,
        block_cols=block_cols,
        shared_rows=shared_rows,
        split_depth=4 * depth,
        direct_rows=8,
    )


def _constant(value):
    """A function of a dtype that is a constant in compiled code."""

    @intrinsic
    def constant(typingctx, dtype):
        def codegen(context, builder, signature, args):
            return context.get_constant(types.intp, value(tile(dtype.dtype)))

        return types.intp(dtype), codegen

    return constant


tile_rows = _constant(lambda t: t.rows)
tile_cols = _constant(lambda t: t.cols)
parts = _constant(lambda t: t.parts)
depth = _constant(lambda t: t.depth)
block_rows = _constant(lambda t: t.block_rows)
block_cols = _constant(lambda t: t.block_cols)
lanes = _constant(lambda t: t.lanes)
direct_rows = _constant(lambda t: t.direct_rows)
shared_rows = _constant(lambda t: t.shared_rows)
split_depth = _constant(lambda t: t.split_depth)
dot_lanes = _constant(lambda t: t.dot_lanes)


@inlined
def ceil_div(n, d):
    return (n + d - 1) // d
