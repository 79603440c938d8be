"""Array kernels written by hand in Numba: the BLAS you can program."""

__version__ = "0.1.0"
