"""softmax, log_softmax and logsumexp, where ``numpy`` is SciPy, and their gradients.

A rate counts bytes read once and bytes written once.
"""

from fastmat.comparisons.cases import on_groups

from .peers import LIBRARIES, Comparison

SHAPES = {"8192x1024": (8192, 1024), "1x10000000": (1, 10**7), "1000000x8": (10**6, 8)}
OPERATIONS = ("softmax", "log_softmax", "logsumexp")
GRADIENTS = ("softmax_vjp", "log_softmax_vjp", "logsumexp_vjp")


class LastAxis(Comparison):
    """Rows: many, one that is long, very short ones."""

    unit = "GB/s"
    params = (OPERATIONS, ("float32", "float64", "float16"), tuple(SHAPES), LIBRARIES)
    param_names = ("operation", "dtype", "shape", "library")

    def case(self, operation, dtype, shape):
        return on_groups("asv", operation, dtype, SHAPES[shape])


class Masked(Comparison):
    """Half of the numbers masked; others fill them with -inf, and call softmax."""

    unit = "GB/s"
    params = (("float32", "float64", "float16"), tuple(SHAPES), LIBRARIES)
    param_names = ("dtype", "shape", "library")

    def case(self, dtype, shape):
        return on_groups("asv", "softmax", dtype, SHAPES[shape], masked=True)


class Gradients(Comparison):
    """The gradient by x, from what the operation returned."""

    unit = "GB/s"
    params = (GRADIENTS, ("float32", "float64"), tuple(SHAPES), LIBRARIES)
    param_names = ("operation", "dtype", "shape", "library")

    def case(self, operation, dtype, shape):
        return on_groups("asv", operation, dtype, SHAPES[shape])


class Tiny(Comparison):
    """8×16 numbers, where the time is that of the call."""

    unit = "GB/s"
    params = (OPERATIONS, ("float32", "float64"), LIBRARIES)
    param_names = ("operation", "dtype", "library")

    def case(self, operation, dtype):
        return on_groups("asv", operation, dtype, (8, 16))
