"""Calls of random draws of the shape and the dtype of an operand, from Python and compiled code."""

import numpy as np
from numba.extending import overload, register_jitable

import fastmat as fm


@register_jitable
def uniform(x):
    return fm.random.uniform(-1.0, 2.0, x.shape, dtype=x.dtype, rng=1, offset=3)


@register_jitable
def standard_normal(x):
    return fm.random.standard_normal(x.shape, dtype=x.dtype, rng=2, stream=7)


@register_jitable
def normal(x):
    return fm.random.normal(
        5.0, 0.5, x.shape, dtype=x.dtype, rng=3, offset=(0, 1), whole=(9001, 777)
    )


@register_jitable
def integers(x):
    return fm.random.integers(-5, 1 << 62, x.shape, rng=4)


@register_jitable
def rademacher(x):
    return fm.random.rademacher(x.shape, dtype=x.dtype, rng=5)


@register_jitable
def permutation(x):
    return fm.random.permutation(x.size, rng=6)


@register_jitable
def orthogonal(x):
    return fm.random.orthogonal(x.shape[0] // 4, x.shape[1] // 4, dtype=x.dtype, rng=7)


def parts(sparse):
    """Values, rows and ends of columns, as one array."""
    return np.concatenate((sparse.data, sparse.indices, sparse.indptr))


@overload(parts)
def _parts(sparse):
    return lambda sparse: np.concatenate(
        (sparse[0].astype(np.float64), sparse[1].astype(np.float64), sparse[2].astype(np.float64))
    )


@register_jitable
def sparse_sign(x):
    return parts(fm.random.sparse_sign((x.shape[0], x.shape[1] * 9), 8, rng=8))


@register_jitable
def glorot_uniform(x):
    return fm.random.glorot_uniform(x.shape, dtype=x.dtype, rng=9)


@register_jitable
def he_normal(x):
    return fm.random.he_normal(x.shape, dtype=x.dtype, rng=10)


NUMBERS = uniform, standard_normal, normal, integers, rademacher
MATRICES = permutation, orthogonal, sparse_sign, glorot_uniform, he_normal
DRAWS = {f"random.{function.__name__}": function for function in (*NUMBERS, *MATRICES)}
COMPLEX_TOO = {"random.standard_normal", "random.normal", "random.rademacher"}
COMPLEX_TOO |= {"random.orthogonal"}
# These do not take the dtype of the operand.
COMPLEX_TOO |= {"random.integers", "random.permutation", "random.sparse_sign"}
