"""Kernels for NVIDIA GPUs; imported only when an array on a GPU arrives."""

from fastmat.core.toolkit import require

require()
