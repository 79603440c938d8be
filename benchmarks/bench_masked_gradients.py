"""Gradients of masked reductions. A rate counts bytes read once and bytes written once."""

from fastmat.comparisons.cases import on_groups

from .peers import LIBRARIES, Comparison

SHAPES = {"8192x1024": (8192, 1024), "1x10000000": (1, 10**7)}
OPERATIONS = (
    "masked_sum_vjp",
    "masked_mean_vjp",
    "masked_var_vjp",
    "masked_std_vjp",
    "masked_min_vjp",
    "masked_max_vjp",
)


class LastAxis(Comparison):
    """Rows of which half is valid: many, and one that is long."""

    unit = "GB/s"
    params = (OPERATIONS, ("float32", "float64"), tuple(SHAPES), LIBRARIES)
    param_names = ("operation", "dtype", "shape", "library")

    def case(self, operation, dtype, shape):
        return on_groups("asv", operation, dtype, SHAPES[shape])
