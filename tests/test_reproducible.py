"""The same bits from every operation, however it is called.

The table names every public operation, and a test holds it to that: a new one joins by its row.
"""

import os

import numba
import numpy as np
import pytest
from calls import MASKED, MASKED_GRADIENTS, WITH_MORE
from numba import njit, prange
from products import bits, normal
from random_calls import COMPLEX_TOO as COMPLEX_DRAWS
from random_calls import DRAWS
from test_contributing import NAMES, PYTHON_ALONE

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


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
    "matmul of min_plus": [((200, 210), (210, 220)), ((8, 50_000), (50_000, 8))],
    "matmul where valid": [((200, 210), (210, 220)), ((9, 70, 80), (9, 80, 90))],
    "matmul then gelu": [((200, 210), (210, 220)), ((2000, 17), (17, 19))],
    "linear": [((200, 210), (220, 210), (220,)), ((2000, 17), (19, 17), (19,))],
    "linear_vjp": [((200, 220), (200, 210), (220, 210), (220,))],
    "matmul_vjp": [((200, 220), (200, 210), (210, 220))],
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
    "linalg.gram": [((900, 300),), ((50_000, 30),), ((300, 40, 20),)],
    "linalg.power_step": [((900, 300), (300, 20)), ((20_000, 30), (30, 5))],
    "linalg.cholesky": [((400, 300),), ((500, 8, 4),), ((30, 40, 20),)],
    "linalg.solve_triangular": [((300, 300), (300, 400)), ((700, 700), (700,))],
    "linalg.qr_tall": [((20_000, 30),), ((400, 300),)],
    "logsumexp_vjp": [((5000,), (5000, 8), (5000,)), ((2,), (2, 90_000), (2,))],
    **{op: [((300, 701),), ((5000, 8),)] for op in DRAWS},
    "randomized_svd": [((500, 300),)],
    "randomized_eigh": [((300, 300),)],
    "randomized_range": [((500, 300),)],
    "RowBlocks": [((9000, 200),)],
    "LowRankSketch": [((9000, 200),)],
    "low_rank_approximation": [((300, 500),)],
    "pca": [((2000, 300),)],
    "randomized_svd_vjp": [((500, 300),)],
}
DTYPES = ["f4", "f8", "c8"]
COMPLEX_TOO = {"matmul", "matvec", "vecmat", "vecdot", "transpose", "matrix_transpose"}
COMPLEX_TOO |= {"masked_fill", "masked_fill_vjp", "mask_rows_cols", "mask_rows_cols_vjp"}
COMPLEX_TOO |= {"matmul_vjp", "take_submatrix", "take_submatrix_vjp", "put_submatrix"}
COMPLEX_TOO |= COMPLEX_DRAWS
COMPLEX_TOO |= {op for op in CALLS if op.startswith("linalg.")}
REAL = set(CALLS) - COMPLEX_TOO
# float32 in every run: each operation is compiled twice, and dtypes share all that shares out work.
every_operation = pytest.mark.parametrize(
    ("op", "dtype"),
    [
        pytest.param(op, dtype, marks=pytest.mark.exhaustive if dtype != "f4" else ())
        for dtype in DTYPES
        for op in CALLS
        if op not in REAL or dtype != "c8"
    ],
)


def operands(shapes, dtype):
    return [normal(shape, dtype, seed) for seed, shape in enumerate(shapes)]


def called(op):
    """A function of the operands alone."""
    return WITH_MORE.get(op) or getattr(fm, op)


def compiled(op):
    """The operation inside a compiled function, and inside a parallel loop of one."""
    function = called(op)

    @njit
    def once(args):
        return function(*args)

    @njit(parallel=True)
    def four_times(args, outs):
        for i in prange(4):  # numbers one by one: slices take seconds to compile
            for j, number in enumerate(np.asarray(once(args)).flat):
                outs[i, j] = number

    return once, four_times


def test_every_operation_has_a_row():
    assert {op.split()[0] for op in CALLS} == set(NAMES)


@every_operation
def test_at_any_number_of_threads_from_python_and_njit(op, dtype):
    functions = (None, None) if op in PYTHON_ALONE else compiled(op)
    for shapes in CALLS[op]:  # in one test, so that one process compiles them all
        check_every_way(op, operands(shapes, dtype), *functions)


def check_every_way(op, args, once, four_times):
    expected = np.asarray(called(op)(*args))
    found = {}
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        found["Python", threads] = bits(np.asarray(called(op)(*args)))
        if op in PYTHON_ALONE:
            continue
        found["njit", threads] = bits(np.asarray(once(tuple(args)), expected.dtype))
        outs = np.empty((4, expected.size), expected.dtype)
        four_times(tuple(args), outs)
        for i, out in enumerate(outs):
            found["prange", threads, i] = bits(np.asarray(out))
    different = [where for where, result in found.items() if result != bits(expected)]
    assert not different


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@every_operation
def test_in_a_forked_child(op, dtype):
    for shapes in CALLS[op]:
        check_in_a_forked_child(op, operands(shapes, dtype))


def check_in_a_forked_child(op, args):
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
