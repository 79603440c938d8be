"""Linear algebra of tall and skinny matrices: what randomized factorizations are made of."""

from fastmat.ops.cholesky import cholesky
from fastmat.ops.gram import gram, power_step
from fastmat.ops.qr_tall import qr_tall
from fastmat.ops.solve_triangular import solve_triangular

__all__ = ["cholesky", "gram", "power_step", "qr_tall", "solve_triangular"]
