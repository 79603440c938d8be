"""Layer and RMS norm by regime: many groups, one long one, very short ones, tiny calls.

A rate counts bytes read once and bytes written once.
"""

from fastmat.comparisons.cases import on_groups

from .peers import LIBRARIES, Comparison

SHAPES = {"8192x1024": (8192, 1024), "1x10000000": (1, 10**7), "1000000x8": (10**6, 8)}
OPTIONS = {"rms_norm": (("eps", 1e-6),)}

FUSED = {  # the operation, whether a residual is added before, and the activation after
    "add, layer norm": ("layer_norm", True, None),
    "add, rms norm": ("rms_norm", True, None),
    "layer norm, gelu": ("layer_norm", False, "gelu"),
}


def case(operation, dtype, shape, options=(), **keywords):
    options = (*OPTIONS.get(operation, ()), *options)
    return on_groups("asv", operation, dtype, shape, options, **keywords)


class LastAxis(Comparison):
    """Over the last axis."""

    unit = "GB/s"
    params = (
        ("layer_norm", "rms_norm"),
        ("float32", "float64", "float16"),
        tuple(SHAPES),
        LIBRARIES,
    )
    param_names = ("operation", "dtype", "shape", "library")

    def case(self, operation, dtype, shape):
        return case(operation, dtype, SHAPES[shape])


class Fused(Comparison):
    """With what comes before and after: the others do one after the other."""

    unit = "GB/s"
    params = (tuple(FUSED), ("float32", "float64"), tuple(SHAPES), LIBRARIES)
    param_names = ("fused", "dtype", "shape", "library")

    def case(self, fused, dtype, shape):
        operation, residual, activation = FUSED[fused]
        options = (("activation", activation),) if activation else ()
        return case(operation, dtype, SHAPES[shape], options, residual=residual)


class Tiny(Comparison):
    """8×16 numbers, where the time is that of the call."""

    unit = "GB/s"
    params = (("layer_norm", "rms_norm"), ("float32", "float64"), LIBRARIES)
    param_names = ("operation", "dtype", "library")

    def case(self, operation, dtype):
        return case(operation, dtype, (8, 16))
