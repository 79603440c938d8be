"""`fastmat.masks` inside ``@njit``."""

from numba.extending import overload

from fastmat.ops import masks
from fastmat.ops.masks import Band, Blocks


@overload(masks.banded)
def _banded(m, n, lower, upper):
    return lambda m, n, lower, upper: Band(m, n, lower, upper)


@overload(masks.lower)
def _lower(m, n):
    return lambda m, n: Band(m, n, m, 0)


@overload(masks.causal)
def _causal(m, n):
    return lambda m, n: Band(m, n, m, 0)


@overload(masks.upper)
def _upper(m, n):
    return lambda m, n: Band(m, n, 0, n)


@overload(masks.blocks)
def _blocks(block_mask, block_shape):
    return lambda block_mask, block_shape: Blocks(block_mask, block_shape[0], block_shape[1])
