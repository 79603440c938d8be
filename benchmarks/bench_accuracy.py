"""How far results are from the exact ones."""

import sys
from pathlib import Path

import numpy as np

from . import hard_cases
from .bench_matmul import product
from .peers import LIBRARIES, Work, require

# The oracles of the tests sum in a wider dtype. They import each other as top-level modules.
_TESTS = str(Path(__file__).resolve().parent.parent / "tests")


class Products:
    """The largest error over its bound 2·k·eps·|A||B|; above 1 it would be wrong."""

    unit = "bounds"
    params = (
        ("float16", "float32", "float64", "complex64", "complex128"),
        ("256x256x256", "50x20000x50"),
        LIBRARIES,
    )
    param_names = ("dtype", "shape", "library")

    def setup(self, dtype, shape, library):
        if _TESTS not in sys.path:
            sys.path.append(_TESTS)
        self.work = Work(product(dtype, *map(int, shape.split("x"))), library)
        self.work.call()

    def track_error(self, dtype, shape, library):
        import oracles  # here: it needs ml_dtypes, which the other benchmarks do not
        import tolerances

        exact = oracles.matmul(*self.work.arrays)
        error = np.abs(self.work.out.astype(exact.value.dtype) - exact.value)
        return float(f"{np.max(error / tolerances.product_bound(exact)):.4g}")


class HardCases:
    """The largest error over eps times the largest result: the table of docs/hard_cases.md."""

    unit = "eps"
    params = (tuple(hard_cases.CASES), tuple(hard_cases.LIBRARIES))
    param_names = ("case", "library")

    def track_error(self, case, library):
        require(library)
        return float(f"{hard_cases.error(case, library):.4g}")
