"""linalg.cholesky of one large matrix, and of many small ones."""

from fastmat.comparisons import tall
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

SHAPES = {
    "10000x4x4": (10_000, 4, 4),
    "10000x16x16": (10_000, 16, 16),
    "60x60": (60, 60),
    "2000x2000": (2000, 2000),
}


class Cholesky(Comparison):
    params = (("float32", "float64"), tuple(SHAPES), LIBRARIES)
    param_names = ("dtype", "shape", "library")

    def case(self, dtype, shape):
        return Case(**tall.row("cholesky", dtype, SHAPES[shape], group="asv"))
