"""Array kernels written by hand in Numba: the BLAS you can program."""

from fastmat.ops.matmul import matmul, matvec, vecdot, vecmat

__version__ = "0.1.0"

__all__ = ["matmul", "matvec", "vecdot", "vecmat"]
