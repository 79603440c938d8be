"""take_submatrix, put_submatrix and the gradient, with indices in random order."""

from fastmat.comparisons import moves
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

TAKEN = {  # shape of the matrix, rows and columns taken
    "a quarter": ((4096, 4096), (2048, 2048)),
    "a quarter, in cache": ((1024, 1024), (512, 512)),
    "rows of 8": ((200_000, 64), (100_000, 8)),
}


class Take(Comparison):
    """take_submatrix: random rows and columns, none twice."""

    unit = "GB/s"
    params = (("uint8", "float32", "float64"), tuple(TAKEN), LIBRARIES)
    param_names = ("dtype", "what", "library")

    def case(self, dtype, what):
        return Case(**moves.row("take_submatrix", dtype, *TAKEN[what]))


class Put(Comparison):
    """put_submatrix: all rows and all columns of n×n numbers, in random order."""

    unit = "GB/s"
    params = (("float32", "float64"), (512, 2048), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case(**moves.row("put_submatrix", dtype, (n, n), (n, n)))


class Gradient(Comparison):
    """take_submatrix_vjp: n×n numbers from half as many rows and columns, some several times."""

    unit = "GB/s"
    params = (("float32", "float64"), (512, 2048), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case(**moves.row("take_submatrix_vjp", dtype, (n, n), (n // 2, n // 2)))
