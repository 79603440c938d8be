"""Normalizations of images, and of rows by their norms.

A rate counts bytes read once and bytes written once.
"""

from fastmat.comparisons.cases import on_groups

from .peers import LIBRARIES, Comparison

SHAPES = {"8192x1024": (8192, 1024), "1000000x8": (10**6, 8)}
IMAGES = (64, 64, 56, 56)
OPTIONS = {"group_norm": (("num_groups", 32),)}
BATCHES = {  # whether statistics are those of the images, and the layout of these
    "training": (True, "C"),
    "training, channels last": (True, "channels-last"),
    "inference": (False, "C"),
    "inference, channels last": (False, "channels-last"),
}


def case(operation, dtype, shape, layout="C"):
    return on_groups("asv", operation, dtype, shape, OPTIONS.get(operation, ()), layout=layout)


class Images(Comparison):
    """group_norm, in 32 groups, and instance_norm of 64 images of 56×56 in 64 channels."""

    unit = "GB/s"
    params = (
        ("group_norm", "instance_norm"),
        ("float32", "float64"),
        ("C", "channels-last"),
        LIBRARIES,
    )
    param_names = ("operation", "dtype", "layout", "library")

    def case(self, operation, dtype, layout):
        return case(operation, dtype, IMAGES, layout)


class Batches(Comparison):
    """batch_norm of the same images. In training, running statistics are updated."""

    unit = "GB/s"
    params = (("float32", "float64"), tuple(BATCHES), LIBRARIES)
    param_names = ("dtype", "mode", "library")

    def case(self, dtype, mode):
        training, layout = BATCHES[mode]
        options = (("training", training),)
        return on_groups("asv", "batch_norm", dtype, IMAGES, options, layout=layout)


class Norms(Comparison):
    """normalize: rows divided by their Euclidean norm."""

    unit = "GB/s"
    params = (("float32", "float64", "float16"), tuple(SHAPES), LIBRARIES)
    param_names = ("dtype", "shape", "library")

    def case(self, dtype, shape):
        return case("normalize", dtype, SHAPES[shape])


class Tiny(Comparison):
    """8×16 numbers, where the time is that of the call."""

    unit = "GB/s"
    params = (("float32", "float64"), LIBRARIES)
    param_names = ("dtype", "library")

    def case(self, dtype):
        return case("normalize", dtype, (8, 16))
