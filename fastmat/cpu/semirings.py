"""Semirings as kernels take them: by the addresses of a tile and of a dot product.

So the loops around the tile are compiled once for a dtype, and for a semiring only the innermost.
"""

from numba import types

from fastmat.core.compile import KERNEL_DTYPES, Kernel
from fastmat.cpu.lanewise import dot_by, multiply_tile_by
from fastmat.cpu.scalar_functions import Compiled, compiled_at, embedded
from fastmat.cpu.simd import multiply_tile

NAMED = {  # addition, multiplication, identity of the addition
    "plus_times": ("plus", "times", "zero"),
    "plus_plus": ("plus", "plus", "zero"),
    "plus_min": ("plus", "min", "zero"),
    "plus_max": ("plus", "max", "zero"),
    "plus_first": ("plus", "first", "zero"),
    "plus_second": ("plus", "second", "zero"),
    "plus_pair": ("plus", "pair", "zero"),
    "min_plus": ("min", "plus", "greatest"),
    "min_times": ("min", "times", "greatest"),
    "min_max": ("min", "max", "greatest"),
    "min_first": ("min", "first", "greatest"),
    "min_second": ("min", "second", "greatest"),
    "max_plus": ("max", "plus", "least"),
    "max_times": ("max", "times", "least"),
    "max_min": ("max", "min", "least"),
    "max_first": ("max", "first", "least"),
    "max_second": ("max", "second", "least"),
    "lor_land": ("or", "and", "zero"),
    "land_lor": ("and", "or", "true"),
    "lxor_land": ("xor", "and", "zero"),
    "sqeuclidean": ("plus", "squared_difference", "zero"),
    "cityblock": ("plus", "absolute_difference", "zero"),
    "chebyshev": ("max", "absolute_difference", "zero"),
    "hamming": ("plus", "differ", "zero"),
    "log_sum_exp": ("log_add_exp", "plus", "least"),
}


def tile_types(t):
    """Argument types of tiles; `t` may be unsigned."""
    return (types.DType(t), *[types.intp] * 7, types.boolean)


def dot_types(t):
    """Argument types of dot products; `t` may be unsigned."""
    return (types.DType(t), *[types.intp] * 4)


def tile_of(add, multiply, start):
    """The tile for scalar functions, or the names of operators: NR columns of up to MR rows."""

    def tile(
        element,  # dtype of the product
        k,
        a,  # in, address of a panel of rows
        b,  # in, address of a panel of columns
        c,  # inout, address of (MR, NR) sums, columns side by side
        c_stride,  # bytes from row to row
        thirds,  # of the rows that are wanted; more may be computed
        halves,  # of the columns, likewise
        accumulate,
    ):
        if halves == 1:
            multiply_tile_by(add, multiply, start, element, 3, 1, k, a, b, c, c_stride, accumulate)
        elif thirds == 1:
            multiply_tile_by(add, multiply, start, element, 1, 2, k, a, b, c, c_stride, accumulate)
        else:
            multiply_tile_by(add, multiply, start, element, 3, 2, k, a, b, c, c_stride, accumulate)

    return tile


def dot_of(add, multiply, start):
    """The dot product for scalar functions, or the names of operators."""

    def dot(
        element,  # dtype of the product
        k,
        a,  # in, address of k numbers
        b,  # in, address of k numbers
        c,  # out, address of a number
    ):
        dot_by(add, multiply, start, element, k, a, b, c)

    return dot


def _plus_times(
    element,
    k,
    a,
    b,
    c,
    c_stride,
    thirds,
    halves,
    accumulate,
):
    """The tile of `matmul`, as a tile."""
    if halves == 1:
        multiply_tile(element, 3, 1, k, a, b, c, c_stride, accumulate)
    elif thirds == 1:
        multiply_tile(element, 1, 2, k, a, b, c, c_stride, accumulate)
    else:
        multiply_tile(element, 3, 2, k, a, b, c, c_stride, accumulate)


def _kernels(make, signature, suffix):
    """A kernel per named semiring."""
    found = {}
    for name, parts in NAMED.items():
        function = _plus_times if (name, suffix) == ("plus_times", "tile") else make(*parts)
        function.__name__ = function.__qualname__ = f"{name}_{suffix}"
        found[function.__name__] = Kernel(function, signature, KERNEL_DTYPES, False)
    return found


_KERNELS = _kernels(tile_of, tile_types, "tile") | _kernels(dot_of, dot_types, "dot")


def __getattr__(name):
    if name in _KERNELS:
        return _KERNELS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_users = Compiled()


def named(name, suffix, dtype):
    """The "tile" or the "dot" of a named semiring: its kernel, and the dtype it is loaded for."""
    if name == "plus_times":  # whose bits do not depend on the sign
        name, dtype = ("lor_land" if dtype == "bool" else name), dtype.removeprefix("u")
    return _KERNELS[f"{name}_{suffix}"], dtype


def parts_of(semiring, dtype):
    """Addition, multiplication and identity of a user's semiring, as tiles take them."""
    functions = (embedded(function, 2) for function in (semiring.add, semiring.multiply))
    return *functions, semiring.identity_for(dtype)


def addresses(semiring, dtype):
    """Tile and dot product for the dtype of this name, and whether they may raise anything.

    The semiring is one by its name, or has `add`, `multiply` and `identity_for`.
    """
    if isinstance(semiring, str):
        kernels = [named(semiring, suffix, dtype) for suffix in ("tile", "dot")]
        for kernel, loaded in kernels:
            kernel.load(loaded)
        return *(kernel.cell(loaded).value for kernel, loaded in kernels), False
    found = _users.of(semiring)
    if dtype not in found:
        element = KERNEL_DTYPES[dtype]
        parts = parts_of(semiring, dtype)
        what = f"{semiring!r} for {dtype}"
        found[dtype] = [
            compiled_at(make(*parts), signature(element), what)
            for make, signature in ((tile_of, tile_types), (dot_of, dot_types))
        ]
    (tile, tile_raises, _), (dot, dot_raises, _) = found[dtype]
    return tile, dot, tile_raises or dot_raises
