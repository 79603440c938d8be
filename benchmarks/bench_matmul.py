"""matmul, matvec, vecmat and vecdot, by regime."""

from fastmat.comparisons.cases import Case

from .peers import LIBRARIES, Comparison

VECTOR_SHAPES = {
    "matvec": ((4000, 4000), (4000,)),
    "vecmat": ((4000,), (4000, 4000)),
    "vecdot": ((10000, 400), (10000, 400)),
}


def product(dtype, m, k, n, batch=(), layout="C"):
    return Case("asv", "matmul", dtype, ((*batch, m, k), (*batch, k, n)), layout=layout)


class Square(Comparison):
    """Products of n×n matrices."""

    params = (("float32", "float64"), (128, 512, 1024, 2048), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return product(dtype, n, n, n)


class Shapes(Comparison):
    """Products of m×k and k×n matrices, m, k and n far apart, or primes."""

    params = (
        ("float32", "float64"),
        (
            "20000x64x64",  # tall
            "4000x500x30",
            "64x64x20000",  # wide
            "30x500x4000",
            "2000x8x2000",  # small k
            "3000x32x3000",
            "50x20000x50",  # large k
            "128x100000x128",
            "997x1009x991",
        ),
        LIBRARIES,
    )
    param_names = ("dtype", "shape", "library")

    def case(self, dtype, shape):
        return product(dtype, *map(int, shape.split("x")))


class Dtypes(Comparison):
    """Products of n×n matrices of what BLAS does not have, and of complex numbers."""

    params = (
        ("bool", "int8", "int16", "int32", "int64", "float16", "complex64", "complex128"),
        (512,),
        LIBRARIES,
    )
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return product(dtype, n, n, n)


class StacksOfTiny(Comparison):
    """10,000 products of n×n matrices."""

    params = (("float32", "float64"), (4, 8, 16), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return product(dtype, n, n, n, batch=(10000,))


class StacksOfMedium(Comparison):
    """64 products of n×n matrices."""

    params = (("float32", "float64"), (64, 128), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return product(dtype, n, n, n, batch=(64,))


class OneSmall(Comparison):
    """One product of n×n matrices: at 4×4 the time is that of the call."""

    params = (("float64", "int32"), (4, 16, 64), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return product(dtype, n, n, n)


class Views(Comparison):
    """Products of n×n views with negative strides along both axes; PyTorch has none."""

    params = (("float32", "float64"), (256, 1024), LIBRARIES)
    param_names = ("dtype", "n", "library")

    def case(self, dtype, n):
        return product(dtype, n, n, n, layout="reversed")


class Vectors(Comparison):
    """Products with vectors, which memory limits."""

    unit = "GB/s"
    params = (tuple(VECTOR_SHAPES), ("float32", "float64"), LIBRARIES)
    param_names = ("operation", "dtype", "library")

    def case(self, operation, dtype):
        return Case("asv", operation, dtype, VECTOR_SHAPES[operation])
