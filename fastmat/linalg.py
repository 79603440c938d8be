"""Linear algebra of tall and skinny matrices: what randomized factorizations are made of."""

from fastmat.ops.cholesky import cholesky
from fastmat.ops.gram import gram, power_step
from fastmat.ops.qr_tall import qr_tall

__all__ = ["cholesky", "gram", "power_step", "qr_tall"]
