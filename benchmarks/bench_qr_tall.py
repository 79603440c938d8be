"""linalg.qr_tall. A rate counts what Householder's QR computes."""

from fastmat.comparisons import tall
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

SHAPES = {"100000x60": (100_000, 60), "10000x30": (10_000, 30), "2000x500": (2000, 500)}


class QR(Comparison):
    params = (("float32", "float64"), tuple(SHAPES), LIBRARIES)
    param_names = ("dtype", "shape", "library")

    def case(self, dtype, shape):
        return Case(**tall.row("qr_tall", dtype, SHAPES[shape], group="asv"))
