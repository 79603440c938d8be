"""random.permutation, random.orthogonal, random.sparse_sign, random.glorot_uniform,
random.he_normal.

A rate counts bytes written. Other libraries draw with generators of their own.
"""

from fastmat.comparisons import draws
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison


class Permutations(Comparison):
    """permutation of n integers."""

    unit = "GB/s"
    params = ((10**3, 10**6, 10**7), LIBRARIES)
    param_names = ("n", "library")

    def case(self, n):
        return Case(**draws.row("permutation", "int64", n))


class Orthogonal(Comparison):
    """orthogonal: square and tall."""

    unit = "GB/s"
    params = (("float32", "float64"), ("100x100", "500x500", "2000x100"), LIBRARIES)
    param_names = ("dtype", "shape", "library")

    def case(self, dtype, shape):
        return Case(**draws.row("orthogonal", dtype, *map(int, shape.split("x"))))


class Sparse(Comparison):
    """sparse_sign: columns of 10000 rows with 8 entries."""

    unit = "GB/s"
    params = (("float32",), (10**3, 10**4), LIBRARIES)
    param_names = ("dtype", "columns", "library")

    def case(self, dtype, columns):
        return Case(**draws.row("sparse_sign", dtype, 10**4, columns))


class Weights(Comparison):
    """glorot_uniform and he_normal of 4096 outputs and 1024 inputs."""

    unit = "GB/s"
    params = (("glorot_uniform", "he_normal"), ("float32", "float64"), LIBRARIES)
    param_names = ("operation", "dtype", "library")

    def case(self, operation, dtype):
        return Case(**draws.row(operation, dtype, 4096, 1024))
