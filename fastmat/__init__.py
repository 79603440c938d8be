"""Array kernels written by hand in Numba: the BLAS you can program."""

from fastmat.core.threads import threads
from fastmat.ops.cluster_norm import cluster_norm, cluster_norm_vjp
from fastmat.ops.gradients import (
    batch_norm_vjp,
    group_norm_vjp,
    instance_norm_vjp,
    layer_norm_vjp,
    normalize_vjp,
    rms_norm_vjp,
)
from fastmat.ops.layer_norm import layer_norm, rms_norm
from fastmat.ops.masked import mask_rows_cols, mask_rows_cols_vjp, masked_fill, masked_fill_vjp
from fastmat.ops.matmul import matmul, matvec, vecdot, vecmat
from fastmat.ops.moments import moments, standardize
from fastmat.ops.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    normalize,
)
from fastmat.ops.softmax import (
    log_softmax,
    log_softmax_vjp,
    logsumexp,
    logsumexp_vjp,
    softmax,
    softmax_vjp,
)
from fastmat.ops.submatrix import put_submatrix, take_submatrix, take_submatrix_vjp
from fastmat.ops.transpose import matrix_transpose, transpose

__version__ = "0.1.0"

__all__ = [
    "batch_norm",
    "batch_norm_vjp",
    "cluster_norm",
    "cluster_norm_vjp",
    "group_norm",
    "group_norm_vjp",
    "instance_norm",
    "instance_norm_vjp",
    "layer_norm",
    "layer_norm_vjp",
    "log_softmax",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_vjp",
    "mask_rows_cols",
    "mask_rows_cols_vjp",
    "masked_fill",
    "masked_fill_vjp",
    "matmul",
    "matrix_transpose",
    "matvec",
    "moments",
    "normalize",
    "normalize_vjp",
    "put_submatrix",
    "rms_norm",
    "rms_norm_vjp",
    "softmax",
    "softmax_vjp",
    "standardize",
    "take_submatrix",
    "take_submatrix_vjp",
    "threads",
    "transpose",
    "vecdot",
    "vecmat",
]
