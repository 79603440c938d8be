"""Products with a semiring or a mask. NumPy broadcasts, ``numba`` is three plain parallel loops.

Distances are SciPy's ``cdist`` under ``numpy``, which computes in float64. A rate counts two
operations for each pair of numbers that is multiplied, and none where a mask is False.
"""

from fastmat.comparisons import programs
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, WITH_NUMBA, Comparison


def product(dtype, m, k, n, **options):
    return Case(**programs.row("matmul", dtype, m, k, n, "asv", **options))


class Square(Comparison):
    """n×n matrices by named semirings, and by functions of a user that do what one of them does."""

    params = (
        ("plus_min", "max_plus", "min_plus", "a user's min_plus"),
        ("float32", "float64"),
        (256, 1024),
        WITH_NUMBA,
    )
    param_names = ("semiring", "dtype", "n", "library")

    def case(self, semiring, dtype, n):
        return product(dtype, n, n, n, semiring=semiring)


class Distances(Comparison):
    """Of 2000 points from 2000 others, in 64 dimensions."""

    params = (("sqeuclidean", "cityblock"), ("float32", "float64"), WITH_NUMBA)
    param_names = ("semiring", "dtype", "library")

    def case(self, semiring, dtype):
        return product(dtype, 2000, 64, 2000, semiring=semiring)


class LogSumExp(Comparison):
    """One step of the forward algorithm of hidden Markov models, for n×n matrices."""

    params = (("float32", "float64"), (256,), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return product(dtype, n, n, n, semiring="log_sum_exp")


class Modular(Comparison):
    """n×n matrices by `modular`, for the largest modulus that is prime."""

    params = ((256,), LIBRARIES)
    param_names = ("n", "library")

    def case(self, n):
        return product("int64", n, n, n, modulus=2**31 - 1)


class Masks(Comparison):
    """n×n matrices of which a mask leaves out entries: other libraries compute all of them."""

    params = (("all True", "causal", "10 % of blocks"), ("float32",), (1024, 2048), LIBRARIES)
    param_names = ("mask", "dtype", "n", "library")

    def case(self, mask, dtype, n):
        return product(dtype, n, n, n, mask=mask)


class Sampled(Comparison):
    """4096×4096 entries of a product with 64 terms each, of which a sparse mask has 1 %."""

    params = (("float32", "float64"), LIBRARIES)
    param_names = ("dtype", "library")

    def case(self, dtype):
        return product(dtype, 4096, 64, 4096, mask="1 % sparse")
