"""Linear algebra of tall and skinny matrices: what randomized factorizations are made of."""

from fastmat.ops.cholesky import cholesky
from fastmat.ops.gram import gram, power_step

__all__ = ["cholesky", "gram", "power_step"]
