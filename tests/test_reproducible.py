"""The same bits from every operation, however it is called.

The table names every public operation, and a test holds it to that: a new one joins by its row.
"""

import functools
import os

import numba
import numpy as np
import pytest
from numba import njit, prange
from numba.extending import register_jitable
from products import bits, normal
from test_contributing import NAMES

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


# Calls of operations that take more than operands; the same from Python and in compiled code.


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


MASKED = (masked_sum, masked_mean, masked_var, masked_std, masked_min, masked_max)
MASKED += (masked_argmin, masked_argmax, masked_count)
MASKED_GRADIENTS = (masked_sum_vjp, masked_mean_vjp, masked_var_vjp, masked_std_vjp)
MASKED_GRADIENTS += (masked_min_vjp, masked_max_vjp)

WITH_MORE = {
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
    "moments": moments,
    "standardize": standardize,
    "softmax": softmax,
    "scaled_dot_product_attention_vjp": scaled_dot_product_attention_vjp,
}

# Shapes that are large enough to be shared out, by every way that a kernel has of doing that.
CALLS = {
    "matmul": [
        ((200, 210), (210, 220)),
        ((8, 50_000), (50_000, 8)),
        ((2000, 17), (17, 19)),
        ((700, 800), (800,)),
        ((500, 4, 4), (500, 4, 4)),
        ((9, 70, 80), (9, 80, 90)),
    ],
    "matvec": [((700, 900), (900,)), ((3, 100_000), (100_000,))],
    "vecmat": [((900,), (900, 700)), ((100_000,), (100_000, 3))],
    "vecdot": [((700, 900), (700, 900)), ((300_000,), (300_000,))],
    "transpose": [((900, 700),), ((64, 65, 33),)],
    "matrix_transpose": [((900, 700),), ((64, 65, 33),)],
    "layer_norm": [
        ((5000, 8), (8,), (8,)),
        ((300, 700), (700,), (700,)),
        ((2, 90_000), (90_000,), (90_000,)),
    ],
    "rms_norm": [((5000, 8), (8,)), ((3, 90_000), (90_000,))],
    "group_norm": [((40, 6, 300), (6,), (6,)), ((2, 4, 40_000), (4,), (4,))],
    "instance_norm": [((40, 6, 300), (6,), (6,)), ((2, 4, 40_000), (4,), (4,))],
    "batch_norm": [((40, 6, 300), (6,), (6,)), ((3000, 70, 1), (70,), (70,))],
    "normalize": [((5000, 8),), ((300, 700),), ((2, 90_000),)],
    "cluster_norm": [((9000, 8), (8,), (8,)), ((600, 130), (130,), (130,))],
    "cluster_norm_vjp": [((9000, 8), (9000, 8), (8,)), ((600, 130), (600, 130), (130,))],
    "moments": [((5000, 8),), ((300, 700),), ((2, 90_000),)],
    "standardize": [((5000, 8),), ((300, 700),), ((2, 90_000),)],
    "softmax": [((5000, 8),), ((300, 700),), ((90_000, 2),)],
    "log_softmax": [((5000, 8),), ((300, 700),), ((2, 90_000),)],
    "logsumexp": [((5000, 8),), ((300, 700),), ((2, 90_000),)],
    "layer_norm_vjp": [((5000, 8), (8,)), ((300, 700), (700,)), ((2, 90_000), (90_000,))],
    "rms_norm_vjp": [((5000, 8), (8,)), ((2, 90_000), (90_000,))],
    "group_norm_vjp": [((40, 6, 300), (6,)), ((2, 4, 40_000), (4,))],
    "instance_norm_vjp": [((40, 6, 300), (6,)), ((2, 4, 80_000), (4,))],
    "batch_norm_vjp": [((40, 6, 300), (6,)), ((3000, 70, 1), (70,))],
    "normalize_vjp": [((5000, 8), (5000, 8)), ((2, 90_000), (2, 90_000))],
    "scaled_dot_product_attention": [
        ((70, 16), (50, 16), (50, 20)),
        ((3, 300, 64), (3, 500, 64), (3, 500, 64)),
    ],
    "scaled_dot_product_attention_vjp": [
        ((3, 300, 40), (3, 300, 40), (3, 500, 40), (3, 500, 40)),
    ],
    "softmax_vjp": [((5000, 8), (5000, 8)), ((300, 700), (300, 700))],
    "log_softmax_vjp": [((5000, 8), (5000, 8)), ((2, 90_000), (2, 90_000))],
    "masked_fill": [((700, 300), (700, 300))],
    "mask_rows_cols": [((700, 300),)],
    "masked_fill_vjp": [((700, 300), (700, 1)), ((700, 300), (300,)), ((700, 300), (1,))],
    "mask_rows_cols_vjp": [((700, 300),)],
    "take_submatrix": [((700, 300),), ((9000, 8),)],
    "put_submatrix": [((700, 300), (700, 300)), ((90, 300), (900, 300))],
    "take_submatrix_vjp": [((700, 300),), ((9000, 8),)],
    **{f.__name__: [((5000, 8),), ((300, 700),), ((2, 90_000),)] for f in MASKED},
    **{f.__name__: [((5000,), (5000, 8)), ((2,), (2, 90_000))] for f in MASKED_GRADIENTS},
    "logsumexp_vjp": [((5000,), (5000, 8), (5000,)), ((2,), (2, 90_000), (2,))],
}
DTYPES = ["f4", "f8", "c8"]
COMPLEX_TOO = {"matmul", "matvec", "vecmat", "vecdot", "transpose", "matrix_transpose"}
COMPLEX_TOO |= {"masked_fill", "masked_fill_vjp", "mask_rows_cols", "mask_rows_cols_vjp"}
COMPLEX_TOO |= {"take_submatrix", "take_submatrix_vjp", "put_submatrix"}
REAL = set(CALLS) - COMPLEX_TOO
ROWS = [
    (op, shapes, dtype)
    for dtype in DTYPES
    for op, rows in CALLS.items()
    for shapes in rows
    if op not in REAL or dtype != "c8"
]
every_row = pytest.mark.parametrize(
    ("op", "shapes", "dtype"),
    ROWS,
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x)),
)


def operands(shapes, dtype):
    return [normal(shape, dtype, seed) for seed, shape in enumerate(shapes)]


def called(op):
    """A function of the operands alone."""
    return WITH_MORE.get(op) or getattr(fm, op)


@functools.cache
def compiled(op):
    """The operation inside a compiled function, and inside a parallel loop of one."""
    function = called(op)

    @njit
    def once(args):
        return function(*args)

    @njit(parallel=True)
    def four_times(args, outs):
        for i in prange(4):
            outs[i] = function(*args)

    return once, four_times


def test_every_operation_has_a_row():
    assert set(CALLS) == set(NAMES)


@every_row
def test_at_any_number_of_threads_from_python_and_njit(op, shapes, dtype):
    args = operands(shapes, dtype)
    once, four_times = compiled(op)
    expected = np.asarray(called(op)(*args))
    found = {}
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        found["Python", threads] = bits(np.asarray(called(op)(*args)))
        found["njit", threads] = bits(np.asarray(once(tuple(args)), expected.dtype))
        outs = np.empty((4, *expected.shape), expected.dtype)
        four_times(tuple(args), outs)
        for i, out in enumerate(outs):
            found["prange", threads, i] = bits(np.asarray(out))
    different = [where for where, result in found.items() if result != bits(expected)]
    assert not different


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@every_row
def test_in_a_forked_child(op, shapes, dtype):
    args = operands(shapes, dtype)
    numba.set_num_threads(4)
    expected = bits(np.asarray(called(op)(*args)))
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = bits(np.asarray(called(op)(*args))) == expected
        finally:
            os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert bits(np.asarray(called(op)(*args))) == expected
