"""transpose and matrix_transpose, by regime. A rate counts bytes read and bytes written."""

from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

PERMUTATIONS = {  # shapes and axes
    "NHWC to NCHW": ((32, 56, 56, 64), (0, 3, 1, 2)),
    "NCHW to NHWC": ((32, 64, 56, 56), (0, 2, 3, 1)),
    "HWC to CHW": ((1080, 1920, 3), (2, 0, 1)),
}


class Square(Comparison):
    """n×n matrices of items of 1, 2, 4, 8 and 16 bytes."""

    unit = "GB/s"
    params = (("uint8", "int16", "float32", "float64", "complex128"), (1024, 4096), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case("asv", "transpose", dtype, ((n, n),))


class InPlace(Comparison):
    """n×n matrices, each into itself; NumPy copies, PyTorch refuses."""

    unit = "GB/s"
    in_place = True
    params = (("float32", "float64"), (1024, 4096), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case("asv", "transpose", dtype, ((n, n),))


class Channels(Comparison):
    """Pictures from channels last to channels first, and back."""

    unit = "GB/s"
    params = (("uint8", "float32"), tuple(PERMUTATIONS), LIBRARIES)
    param_names = ("dtype", "permutation", "library")

    def case(self, dtype, permutation):
        shape, axes = PERMUTATIONS[permutation]
        return Case("asv", "transpose", dtype, (shape,), axes=axes)


class StacksOfSmall(Comparison):
    """matrix_transpose of 10,000 n×n matrices."""

    unit = "GB/s"
    params = (("float32", "float64"), (4, 16), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return Case("asv", "matrix_transpose", dtype, ((10000, n, n),))
