"""Array kernels written by hand in Numba: the BLAS you can program."""

from fastmat.core.threads import threads
from fastmat.ops.cluster_norm import cluster_norm, cluster_norm_vjp
from fastmat.ops.matmul import matmul, matvec, vecdot, vecmat
from fastmat.ops.moments import moments, standardize
from fastmat.ops.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    normalize,
    rms_norm,
)
from fastmat.ops.softmax import log_softmax, logsumexp, softmax
from fastmat.ops.transpose import matrix_transpose, transpose

__version__ = "0.1.0"

__all__ = [
    "batch_norm",
    "cluster_norm",
    "cluster_norm_vjp",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "log_softmax",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "matvec",
    "moments",
    "normalize",
    "rms_norm",
    "softmax",
    "standardize",
    "threads",
    "transpose",
    "vecdot",
    "vecmat",
]
