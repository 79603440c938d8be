"""random.uniform, random.standard_normal, random.normal, random.integers and random.rademacher.

A rate counts bytes written. Other libraries draw with generators of their own.
"""

from fastmat.comparisons import draws
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

SIZES = (10**2, 10**6, 10**8)


class Reals(Comparison):
    """Uniform and normal numbers: one call, in cache, in memory."""

    unit = "GB/s"
    params = (("uniform", "standard_normal", "normal"), ("float32", "float64"), SIZES, LIBRARIES)
    param_names = ("operation", "dtype", "n", "library")

    def case(self, operation, dtype, n):
        return Case(**draws.row(operation, dtype, n))


class Complex(Comparison):
    """Complex normal numbers."""

    unit = "GB/s"
    params = (("complex64", "complex128"), (10**6, 10**7), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case(**draws.row("standard_normal", dtype, n))


class Integers(Comparison):
    """Integers up to 1000, or less where the dtype does not have it."""

    unit = "GB/s"
    params = (("uint8", "int32", "int64"), (10**6, 10**7), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case(**draws.row("integers", dtype, n))


class Signs(Comparison):
    """rademacher: 1 and -1."""

    unit = "GB/s"
    params = (("int8", "float32", "float64"), (10**6, 10**7), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case(**draws.row("rademacher", dtype, n))
