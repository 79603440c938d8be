"""Calls of random draws of the shape and the dtype of an operand, from Python and compiled code."""

from numba.extending import register_jitable

import fastmat as fm


@register_jitable
def uniform(x):
    return fm.random.uniform(-1.0, 2.0, x.shape, dtype=x.dtype, rng=1, offset=3)


@register_jitable
def standard_normal(x):
    return fm.random.standard_normal(x.shape, dtype=x.dtype, rng=2, stream=7)


@register_jitable
def normal(x):
    return fm.random.normal(
        5.0, 0.5, x.shape, dtype=x.dtype, rng=3, offset=(0, 1), whole=(9001, 777)
    )


@register_jitable
def integers(x):
    return fm.random.integers(-5, 1 << 62, x.shape, rng=4)


@register_jitable
def rademacher(x):
    return fm.random.rademacher(x.shape, dtype=x.dtype, rng=5)


DRAWS = {
    f"random.{function.__name__}": function
    for function in (uniform, standard_normal, normal, integers, rademacher)
}
COMPLEX_TOO = {"random.standard_normal", "random.normal", "random.rademacher"}
COMPLEX_TOO |= {"random.integers"}  # it does not take the dtype of the operand
