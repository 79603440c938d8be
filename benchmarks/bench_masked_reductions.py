"""Masked reductions. A rate counts bytes of numbers and mask read once."""

from functools import partial

import numpy as np

import fastmat
from fastmat.comparisons.cases import on_groups

from .peers import LIBRARIES, Comparison, set_threads

SHAPES = {"8192x1024": (8192, 1024), "1x10000000": (1, 10**7), "1000000x8": (10**6, 8)}
OPERATIONS = (
    "masked_sum",
    "masked_mean",
    "masked_var",
    "masked_std",
    "masked_min",
    "masked_max",
    "masked_argmin",
    "masked_argmax",
    "masked_count",
)


class LastAxis(Comparison):
    """Rows of which half is valid: many, one that is long, very short ones."""

    unit = "GB/s"
    params = (OPERATIONS, ("float32", "float64"), tuple(SHAPES), LIBRARIES)
    param_names = ("operation", "dtype", "shape", "library")

    def case(self, operation, dtype, shape):
        return on_groups("asv", operation, dtype, SHAPES[shape])


class Tiny(Comparison):
    """8×16 numbers, where the time is that of the call."""

    unit = "GB/s"
    params = (OPERATIONS, ("float32",), LIBRARIES)
    param_names = ("operation", "dtype", "library")

    def case(self, operation, dtype):
        return on_groups("asv", operation, dtype, (8, 16))


class MaskedArrays:
    """`numpy.ma.MaskedArray`, of which half is masked: fastmat's reductions and its own."""

    params = (
        ("masked_sum", "masked_mean", "masked_var", "masked_std", "masked_min", "masked_argmin"),
        ("float32", "float64"),
        ("fastmat", "fastmat-serial", "numpy.ma"),
    )
    param_names = ("operation", "dtype", "library")

    def setup(self, operation, dtype, library):
        rng = np.random.default_rng(1)
        shape = SHAPES["8192x1024"]
        x = np.ma.MaskedArray(rng.standard_normal(shape).astype(dtype), rng.random(shape) < 0.5)
        method = getattr(x, operation.removeprefix("masked_"))
        self.call = partial(method, axis=-1)
        if library != "numpy.ma":
            set_threads(library)
            own = self.call
            self.call = partial(getattr(fastmat, operation), x, None, -1)
            np.testing.assert_allclose(self.call(), own(), rtol=1e-3, atol=1e-2)

    def time_call(self, operation, dtype, library):
        self.call()
