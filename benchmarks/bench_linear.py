"""linear, and the gradients linear_vjp and matmul_vjp.

NumPy takes the product, and then adds and applies what comes after. PyTorch's gradients are those
of autograd, which has to go forth before it goes back; its results are new tensors.
"""

from fastmat.comparisons import programs
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

SHAPES = {"1024x1024x1024": (1024, 1024, 1024), "4096x256x1024": (4096, 256, 1024)}
ACTIVATIONS = {"none": {}, "gelu": {"activation": "gelu"}}


class Layers(Comparison):
    """A layer from k to n numbers of m rows, and its gradients."""

    params = (
        ("linear", "linear_vjp"),
        ("float32", "float64"),
        tuple(SHAPES),
        tuple(ACTIVATIONS),
        LIBRARIES,
    )
    param_names = ("operation", "dtype", "shape", "activation", "library")

    def case(self, operation, dtype, shape, activation):
        row = programs.row(operation, dtype, *SHAPES[shape], "asv", **ACTIVATIONS[activation])
        return Case(**row)


class Products(Comparison):
    """Both gradients of a product of n×n matrices."""

    params = (("matmul_vjp",), ("float32", "float64"), (1024,), LIBRARIES)
    param_names = ("operation", "dtype", "n", "library")

    def case(self, operation, dtype, n):
        return Case(**programs.row(operation, dtype, n, n, n, "asv"))
