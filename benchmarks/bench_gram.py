"""linalg.gram and linalg.power_step, where NumPy takes one product, or two."""

from fastmat.comparisons import tall
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

SHAPES = {
    "100000x64": (100_000, 64),
    "1000000x20": (1_000_000, 20),
    "20000x300": (20_000, 300),
    "4000x4000": (4000, 4000),
}


class Gram(Comparison):
    """Half of a product counts."""

    params = (("float32", "float64", "complex64", "int32"), tuple(SHAPES), LIBRARIES)
    param_names = ("dtype", "shape", "library")

    def case(self, dtype, shape):
        return Case(**tall.row("gram", dtype, SHAPES[shape], group="asv"))


class PowerStep(Comparison):
    """30 columns; a matrix that fits a cache, and one that does not."""

    params = (("float32", "float64"), (200, 2000), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case(**tall.row("power_step", dtype, (20_000, n), (n, 30), group="asv"))
