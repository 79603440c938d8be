"""Calls of operations that take more than operands: the same from Python and in compiled code."""

import numpy as np
from numba.extending import register_jitable
from random_calls import DRAWS

import fastmat as fm


@register_jitable
def layer_norm(x, weight, bias):
    return fm.layer_norm(x, x.shape[1], weight, bias)


@register_jitable
def rms_norm(x, weight):
    return fm.rms_norm(x, x.shape[1], weight)


@register_jitable
def group_norm(x, weight, bias):
    return fm.group_norm(x, 2, weight, bias)


@register_jitable
def instance_norm(x, weight, bias):
    return fm.instance_norm(x, None, None, weight, bias)


@register_jitable
def batch_norm(x, weight, bias):
    return fm.batch_norm(x, None, None, weight, bias, True)


@register_jitable
def cluster_norm(x, weight, bias):
    return fm.cluster_norm(x, np.arange(x.shape[0]) % 7 // 2, weight, bias)


@register_jitable
def cluster_norm_vjp(cotangent, x, weight):
    labels = np.arange(x.shape[0]) % 7 // 2
    _, mean, rstd, labels = fm.cluster_norm(x, labels, return_stats=True)
    found = fm.cluster_norm_vjp(cotangent, x, labels, mean, rstd, weight)
    return np.concatenate((found.x, found.weight.reshape(1, -1), found.bias.reshape(1, -1)))


@register_jitable
def moments(x):
    return np.stack(fm.moments(x, -1))


@register_jitable
def standardize(x):
    return fm.standardize(x, 0)


@register_jitable
def softmax(x):
    return fm.softmax(x, 0)


@register_jitable
def scaled_dot_product_attention_vjp(cotangent, q, k, v):
    found = fm.scaled_dot_product_attention(q, k, v, return_stats=True)
    gradients = fm.scaled_dot_product_attention_vjp(
        cotangent, q, k, v, found.result, found.logsumexp
    )
    return np.concatenate((gradients.q, gradients.k, gradients.v), axis=1)


@register_jitable
def layer_norm_vjp(x, weight):
    center, factor = np.zeros((x.shape[0], 1)), np.ones((x.shape[0], 1))
    found = fm.layer_norm_vjp(x, x, center, factor, x.shape[1], weight)
    return joined(found.x, found.weight, found.bias)


@register_jitable
def rms_norm_vjp(x, weight):
    found = fm.rms_norm_vjp(x, x, np.ones((x.shape[0], 1)), x.shape[1], weight)
    return joined(found.x, found.weight, found.weight)


@register_jitable
def group_norm_vjp(x, weight):
    center, factor = np.zeros((x.shape[0], 2)), np.ones((x.shape[0], 2))
    found = fm.group_norm_vjp(x, x, 2, center, factor, weight)
    return joined(found.x, found.weight, found.bias)


@register_jitable
def instance_norm_vjp(x, weight):
    center, factor = np.zeros(x.shape[:2]), np.ones(x.shape[:2])
    found = fm.instance_norm_vjp(x, x, center, factor, weight)
    return joined(found.x, found.weight, found.bias)


@register_jitable
def batch_norm_vjp(x, weight):
    center, factor = np.zeros(x.shape[1]), np.ones(x.shape[1])
    found = fm.batch_norm_vjp(x, x, center, factor, weight, True)
    return joined(found.x, found.weight, found.bias)


@register_jitable
def joined(by_x, by_weight, by_bias):
    return np.concatenate((by_x.ravel(), by_weight, by_bias))


@register_jitable
def masked_fill(x, y):
    return fm.masked_fill(x, np.abs(y) > 1, y)


@register_jitable
def mask_rows_cols(x):
    return fm.mask_rows_cols(x, np.abs(x[:, 0]) > 1, np.abs(x[0]) > 1)


@register_jitable
def masked_fill_vjp(x, value):
    found = fm.masked_fill_vjp(x, np.abs(x) > 1, value)
    return np.concatenate((found.x.ravel(), found.value.ravel()))


@register_jitable
def mask_rows_cols_vjp(x):
    return fm.mask_rows_cols_vjp(x, np.abs(x[:, 0]) > 1, np.abs(x[0]) > 1)


@register_jitable
def take_submatrix(x):
    return fm.take_submatrix(x, np.arange(x.shape[0]) * 7 % 101, np.arange(x.shape[1])[::-1])


@register_jitable
def put_submatrix(x, values):
    rows = np.arange(values.shape[0]) * 7 % x.shape[0]
    return fm.put_submatrix(x.copy(), rows, np.arange(values.shape[1])[::-1], values)


@register_jitable
def take_submatrix_vjp(x):
    rows, cols = np.arange(x.shape[0]) * 7 % 101, np.arange(x.shape[1]) // 2
    return fm.take_submatrix_vjp(x, rows, cols, x.shape)


@register_jitable
def valid(x):
    return x > -0.5


@register_jitable
def masked_sum(x):
    return fm.masked_sum(x, valid(x), -1)


@register_jitable
def masked_mean(x):
    return fm.masked_mean(x, valid(x), 0)


@register_jitable
def masked_var(x):
    return fm.masked_var(x, valid(x), -1)


@register_jitable
def masked_std(x):
    return fm.masked_std(x, valid(x), 0)


@register_jitable
def masked_min(x):
    return fm.masked_min(x, valid(x), -1, initial=9)


@register_jitable
def masked_max(x):
    return fm.masked_max(x, valid(x), 0, initial=-9)


@register_jitable
def masked_argmin(x):
    return fm.masked_argmin(x, valid(x))


@register_jitable
def masked_argmax(x):
    return fm.masked_argmax(x, valid(x))


@register_jitable
def masked_count(x):
    return fm.masked_count(x, valid(x), -1)


@register_jitable
def masked_sum_vjp(g, x):
    return fm.masked_sum_vjp(g, x, valid(x), -1)


@register_jitable
def masked_mean_vjp(g, x):
    return fm.masked_mean_vjp(g, x, valid(x), -1)


@register_jitable
def masked_var_vjp(g, x):
    return fm.masked_var_vjp(g, x, valid(x), -1)


@register_jitable
def masked_std_vjp(g, x):
    return fm.masked_std_vjp(g, x, valid(x), -1)


@register_jitable
def masked_min_vjp(g, x):
    least = fm.masked_min(x, valid(x), -1, initial=9)
    return fm.masked_min_vjp(g, x, valid(x), least, -1)


@register_jitable
def masked_max_vjp(g, x):
    largest = fm.masked_max(x, valid(x), -1, initial=-9)
    return fm.masked_max_vjp(g, x, valid(x), largest, -1)


@register_jitable
def min_plus(x1, x2):
    return fm.matmul(x1, x2, semiring="min_plus")


@register_jitable
def where_valid(x1, x2):
    mask = x1[..., :1] > x2[..., :1, :]
    return fm.matmul(x1, x2, mask=mask, fill=7)


@register_jitable
def then_gelu(x1, x2):
    return fm.matmul(x1, x2, epilogue="gelu")


@register_jitable
def linear(x, weight, bias):
    return fm.linear(x, weight, bias, activation="silu")


@register_jitable
def linear_vjp(cotangent, x, weight, bias):
    found = fm.linear_vjp(cotangent, x, weight, bias, activation="gelu")
    return joined(found.x, found.weight.ravel(), found.bias)


@register_jitable
def matmul_vjp(cotangent, x1, x2):
    found = fm.matmul_vjp(cotangent, x1, x2)
    return np.concatenate((found.x1.ravel(), found.x2.ravel()))


@register_jitable
def randomized_svd(x):
    found = fm.randomized_svd(x, 5, n_iter=1, rng=1)
    return joined(found.U, found.S, found.Vh.ravel())


@register_jitable
def randomized_eigh(x):
    found = fm.randomized_eigh(x, 5, n_iter=1, rng=1)
    return found.eigenvectors * found.eigenvalues


@register_jitable
def randomized_range(x):
    return fm.randomized_range(x, 5, n_iter=1, rng=1)


def by_row_blocks(x):
    found = fm.randomized_svd(fm.RowBlocks(x), 5, n_iter=1, rng=1)
    return np.concatenate((found.U, found.Vh.T, found.S.reshape(1, -1)))


def by_sketch(x):
    found = fm.LowRankSketch(x.shape[1], 9, dtype=x.dtype, rng=1).update(x).svd(5)
    return np.concatenate((found.U, found.Vh.T, found.S.reshape(1, -1)))


@register_jitable
def low_rank_approximation(x):
    found = fm.low_rank_approximation(x, 5, n_iter=1, rng=1)
    return joined(found.left, found.right[0], found.right[1:].ravel())


@register_jitable
def pca(x):
    found = fm.pca(x, 5, n_iter=1, rng=1)
    return joined(found.scores, found.explained_variance_ratio, found.components.ravel())


@register_jitable
def randomized_svd_vjp(x):
    values = np.arange(5, 0, -1).astype(x.dtype)
    left, right = np.ascontiguousarray(x[:, :5]), np.ascontiguousarray(x[:5])
    return fm.randomized_svd_vjp((left[::-1].copy(), None, None), x, left, values, right)


@register_jitable
def linalg_gram(a):
    return fm.linalg.gram(a)


@register_jitable
def linalg_power_step(a, q):
    return fm.linalg.power_step(a, q)


@register_jitable
def linalg_cholesky(a):
    return fm.linalg.cholesky(fm.linalg.gram(a))


@register_jitable
def linalg_solve_triangular(a, b):
    one = a.dtype.type(1)
    matrix = a * a.dtype.type(0.001)
    for i in range(matrix.shape[0]):
        matrix[i, i] = one
    return fm.linalg.solve_triangular(matrix, b)


@register_jitable
def linalg_qr_tall(a):
    q, r = fm.linalg.qr_tall(a)
    return np.concatenate((q, r))


MASKED = (masked_sum, masked_mean, masked_var, masked_std, masked_min, masked_max)
MASKED += (masked_argmin, masked_argmax, masked_count)
MASKED_GRADIENTS = (masked_sum_vjp, masked_mean_vjp, masked_var_vjp, masked_std_vjp)
MASKED_GRADIENTS += (masked_min_vjp, masked_max_vjp)

WITH_MORE = {
    **DRAWS,
    "masked_fill": masked_fill,
    "mask_rows_cols": mask_rows_cols,
    "masked_fill_vjp": masked_fill_vjp,
    "mask_rows_cols_vjp": mask_rows_cols_vjp,
    "take_submatrix": take_submatrix,
    "put_submatrix": put_submatrix,
    "take_submatrix_vjp": take_submatrix_vjp,
    **{function.__name__: function for function in (*MASKED, *MASKED_GRADIENTS)},
    "layer_norm_vjp": layer_norm_vjp,
    "rms_norm_vjp": rms_norm_vjp,
    "group_norm_vjp": group_norm_vjp,
    "instance_norm_vjp": instance_norm_vjp,
    "batch_norm_vjp": batch_norm_vjp,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "batch_norm": batch_norm,
    "cluster_norm": cluster_norm,
    "cluster_norm_vjp": cluster_norm_vjp,
    "matmul of min_plus": min_plus,
    "matmul where valid": where_valid,
    "matmul then gelu": then_gelu,
    "linear": linear,
    "linear_vjp": linear_vjp,
    "matmul_vjp": matmul_vjp,
    "randomized_svd": randomized_svd,
    "randomized_eigh": randomized_eigh,
    "randomized_range": randomized_range,
    "RowBlocks": by_row_blocks,
    "LowRankSketch": by_sketch,
    "low_rank_approximation": low_rank_approximation,
    "pca": pca,
    "randomized_svd_vjp": randomized_svd_vjp,
    "moments": moments,
    "standardize": standardize,
    "softmax": softmax,
    "linalg.gram": linalg_gram,
    "linalg.power_step": linalg_power_step,
    "linalg.cholesky": linalg_cholesky,
    "linalg.solve_triangular": linalg_solve_triangular,
    "linalg.qr_tall": linalg_qr_tall,
    "scaled_dot_product_attention_vjp": scaled_dot_product_attention_vjp,
}
