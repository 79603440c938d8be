"""Arguments of randomized factorizations inside ``@njit``."""

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.extending import overload

from fastmat.cpu.views import as_any
from fastmat.ops import low_rank
from fastmat.overloads.groups import constant
from fastmat.overloads.typing import given, numpy_dtype


def as_it_stands(function):
    """Have a function compiled wherever compiled code calls it."""
    overload(function, strict=False)(lambda *arguments: function)


def operand_reader(x):
    """A function of x: the matrix, as products take it, in a type that its transpose has, too."""
    dtype = numpy_dtype(x, "x")
    if x.ndim != 2:
        raise errors.TypingError(f"x has {x.ndim} dimensions; inside njit it must be a matrix")
    if dtype.name in low_rank.COMPUTED:
        return njit(lambda x: as_any(x))
    if dtype.kind not in "biu":
        raise errors.TypingError(f"x has dtype {dtype}; convert it first")
    return njit(lambda x: as_any(x.astype(np.float64)))


def check_integer(argument, name):
    if not isinstance(argument, types.Integer) and not isinstance(argument, int):
        raise errors.TypingError(f"{name} is of type {argument}; it must be an integer")


def count_reader(n_iter):
    """A function (n_iter, components, smaller, adaptive): the number of power iterations."""
    value = getattr(n_iter, "literal_value", getattr(n_iter, "value", n_iter))
    few = low_rank.ITERATIONS_OF_FEW, low_rank.FEW, low_rank.ITERATIONS
    if isinstance(value, str):
        if value != "auto":
            raise errors.TypingError(f"n_iter is {value!r}; it must be an integer or 'auto'")

        def count(n_iter, components, smaller, adaptive):
            if adaptive:
                return 1
            return few[0] if components < few[1] * smaller else few[2]

        return njit(count)
    check_integer(n_iter, "n_iter")

    def checked(n_iter, components, smaller, adaptive):
        if n_iter < 0:
            raise ValueError("n_iter must be at least 0")
        return n_iter

    return njit(checked)


def normalizer_of(name):
    """The number of a normalizer that is a constant."""
    try:
        return low_rank.normalizer_of(constant(name, "power_iteration_normalizer", str))
    except ValueError as error:
        raise errors.TypingError(str(error)) from None


def components_reader(n_components, name="n_components"):
    """A function (n_components, smaller): how many triplets are wanted at the most."""
    if not given(n_components):

        def all_of_them(n_components, smaller):
            if smaller == 0:
                raise ValueError("x has no singular values")
            return smaller

        return njit(all_of_them)
    check_integer(n_components, name)
    message = f"{name} must be at least 1 and at most the smaller side of x"

    def checked(n_components, smaller):
        if not 1 <= n_components <= smaller:
            raise ValueError(message)
        return n_components

    return njit(checked)


def transposes_reader(transpose):
    """A function (transpose, shape): whether to work on the transposed matrix."""
    value = getattr(transpose, "literal_value", getattr(transpose, "value", transpose))
    if value == "auto":
        return njit(lambda transpose, shape: shape[0] < shape[1])
    if not isinstance(transpose, types.Boolean) and not isinstance(value, bool):
        raise errors.TypingError(f"transpose is {transpose}; it must be True, False or 'auto'")
    return njit(lambda transpose, shape: bool(transpose))
