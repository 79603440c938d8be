"""masked_fill, mask_rows_cols and their gradients. A rate counts bytes read and bytes written."""

from fastmat.comparisons import moves
from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison


class MaskedFill(Comparison):
    """masked_fill of n×n numbers, of which 70 % are filled in no order."""

    unit = "GB/s"
    params = (("uint8", "float16", "float32", "float64", "complex128"), (1024, 4096), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case(**moves.row("masked_fill", dtype, (n, n)))


class RowsAndColumns(Comparison):
    """mask_rows_cols of n×n numbers, of whose rows and columns 70 % are kept."""

    unit = "GB/s"
    params = (("float32", "float64"), (1024, 4096), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case(**moves.row("mask_rows_cols", dtype, (n, n)))


class Gradients(Comparison):
    """masked_fill_vjp and mask_rows_cols_vjp of n×n numbers."""

    unit = "GB/s"
    params = (("masked_fill_vjp", "mask_rows_cols_vjp"), (1024, 4096), LIBRARIES)
    param_names = ("op", "n", "library")

    def case(self, op, n):
        return Case(**moves.row(op, "float32", (n, n)))
