"""Random numbers by position: what is drawn depends on a seed, a stream and a place alone."""

from fastmat.ops.random import integers, normal, rademacher, standard_normal, uniform
from fastmat.ops.random_matrices import (
    glorot_uniform,
    he_normal,
    orthogonal,
    permutation,
    sparse_sign,
)

__all__ = [
    "glorot_uniform",
    "he_normal",
    "integers",
    "normal",
    "orthogonal",
    "permutation",
    "rademacher",
    "sparse_sign",
    "standard_normal",
    "uniform",
]
