"""Gradients of normalizations, by x, weight and bias, from what the forward operation returned.

PyTorch's are what its autograd calls on the way back. A rate counts bytes read once and bytes
written once.
"""

from fastmat.comparisons.cases import on_groups

from .peers import LIBRARIES, Comparison

SHAPES = {"8192x1024": (8192, 1024), "1x10000000": (1, 10**7), "1000000x8": (10**6, 8)}
IMAGES = (64, 64, 56, 56)
OPTIONS = {"group_norm_vjp": (("num_groups", 32),)}
BATCHES = {  # whether statistics were those of the images, and the layout of these
    "training": (True, "C"),
    "training, channels last": (True, "channels-last"),
    "inference": (False, "C"),
    "inference, channels last": (False, "channels-last"),
}


class LastAxis(Comparison):
    """layer_norm_vjp and rms_norm_vjp: many groups, one long one, very short ones."""

    unit = "GB/s"
    params = (
        ("layer_norm_vjp", "rms_norm_vjp"),
        ("float32", "float64"),
        tuple(SHAPES),
        LIBRARIES,
    )
    param_names = ("operation", "dtype", "shape", "library")

    def case(self, operation, dtype, shape):
        return on_groups("asv", operation, dtype, SHAPES[shape])


class Images(Comparison):
    """group_norm_vjp, in 32 groups, and instance_norm_vjp of 64 images of 56×56 in 64 channels."""

    unit = "GB/s"
    params = (
        ("group_norm_vjp", "instance_norm_vjp"),
        ("float32", "float64"),
        ("C", "channels-last"),
        LIBRARIES,
    )
    param_names = ("operation", "dtype", "layout", "library")

    def case(self, operation, dtype, layout):
        options = OPTIONS.get(operation, ())
        return on_groups("asv", operation, dtype, IMAGES, options, layout=layout)


class Batches(Comparison):
    """batch_norm_vjp of the same images."""

    unit = "GB/s"
    params = (("float32", "float64"), tuple(BATCHES), LIBRARIES)
    param_names = ("dtype", "mode", "library")

    def case(self, dtype, mode):
        training, layout = BATCHES[mode]
        options = (("training", training),)
        return on_groups("asv", "batch_norm_vjp", dtype, IMAGES, options, layout=layout)


class Norms(Comparison):
    """normalize_vjp of rows by their Euclidean norms."""

    unit = "GB/s"
    params = (("float32", "float64"), tuple(SHAPES), LIBRARIES)
    param_names = ("dtype", "shape", "library")

    def case(self, dtype, shape):
        return on_groups("asv", "normalize_vjp", dtype, SHAPES[shape])
