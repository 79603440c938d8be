"""Array kernels written by hand in Numba: the BLAS you can program."""

from fastmat.core.threads import threads
from fastmat.ops.matmul import matmul, matvec, vecdot, vecmat
from fastmat.ops.transpose import matrix_transpose, transpose

__version__ = "0.1.0"

__all__ = ["matmul", "matrix_transpose", "matvec", "threads", "transpose", "vecdot", "vecmat"]
