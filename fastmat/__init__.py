"""Array kernels written by hand in Numba: the BLAS you can program."""

from fastmat import linalg, random
from fastmat.core.precision import matmul_precision
from fastmat.core.threads import threads
from fastmat.ops import masks
from fastmat.ops.attention import (
    scaled_dot_product_attention,
    scaled_dot_product_attention_vjp,
)
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
from fastmat.ops.linear import linear, linear_vjp, matmul_vjp
from fastmat.ops.low_rank_sketch import LowRankSketch
from fastmat.ops.masked import mask_rows_cols, mask_rows_cols_vjp, masked_fill, masked_fill_vjp
from fastmat.ops.masked_gradients import (
    masked_max_vjp,
    masked_mean_vjp,
    masked_min_vjp,
    masked_std_vjp,
    masked_sum_vjp,
    masked_var_vjp,
)
from fastmat.ops.masked_reductions import (
    masked_argmax,
    masked_argmin,
    masked_count,
    masked_max,
    masked_mean,
    masked_min,
    masked_std,
    masked_sum,
    masked_var,
)
from fastmat.ops.matmul import matmul, matvec, vecdot, vecmat
from fastmat.ops.moments import moments, standardize
from fastmat.ops.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    normalize,
)
from fastmat.ops.pca import pca
from fastmat.ops.randomized_svd import (
    low_rank_approximation,
    randomized_eigh,
    randomized_range,
    randomized_svd,
)
from fastmat.ops.randomized_svd_vjp import randomized_svd_vjp
from fastmat.ops.row_blocks import RowBlocks
from fastmat.ops.semirings import Semiring, modular
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
    "LowRankSketch",
    "RowBlocks",
    "Semiring",
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
    "linalg",
    "linear",
    "linear_vjp",
    "log_softmax",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_vjp",
    "low_rank_approximation",
    "mask_rows_cols",
    "mask_rows_cols_vjp",
    "masked_argmax",
    "masked_argmin",
    "masked_count",
    "masked_fill",
    "masked_fill_vjp",
    "masked_max",
    "masked_max_vjp",
    "masked_mean",
    "masked_mean_vjp",
    "masked_min",
    "masked_min_vjp",
    "masked_std",
    "masked_std_vjp",
    "masked_sum",
    "masked_sum_vjp",
    "masked_var",
    "masked_var_vjp",
    "masks",
    "matmul",
    "matmul_precision",
    "matmul_vjp",
    "matrix_transpose",
    "matvec",
    "modular",
    "moments",
    "normalize",
    "normalize_vjp",
    "pca",
    "put_submatrix",
    "random",
    "randomized_eigh",
    "randomized_range",
    "randomized_svd",
    "randomized_svd_vjp",
    "rms_norm",
    "rms_norm_vjp",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_vjp",
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
