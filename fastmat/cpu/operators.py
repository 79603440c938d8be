"""Scalar functions that semirings and epilogues are made of, and the identities of sums.

`min` and `max` are one comparison: a NaN on the right is left out, one on the left stays. What is
added up stands on the left, so that products that are NaN are left out, as in GraphBLAS.
"""

import math

import numpy as np
from numba import types

from fastmat.core.elementary import erf, exp, log, select
from fastmat.core.inline import operator, overload
from fastmat.core.mathfn import number

_ROOT_HALF = math.sqrt(0.5)
_ROOT_HALF_PI_INVERSE = math.sqrt(0.5 / math.pi)


@operator
def _plus(x, y):
    return x + y


@operator
def _times(x, y):
    return x * y


@operator
def _min(x, y):
    return y if y < x else x


@operator
def _max(x, y):
    return y if y > x else x


@operator
def _first(x, y):
    return x


@operator
def _second(x, y):
    return y


@operator
def _pair(x, y):
    return True


@operator
def _differ(x, y):
    return x != y


@operator
def _or(x, y):
    return x | y


@operator
def _and(x, y):
    return x & y


@operator
def _xor(x, y):
    return x ^ y


@operator
def _squared_difference(x, y):
    return (x - y) * (x - y)


@operator
def _absolute_difference(x, y):
    return _distance(x, y)


def _distance(x, y):
    raise TypeError("only for compiled code")


@overload(_distance)
def _distance_by_type(x, y):
    if isinstance(x, types.Integer):
        return lambda x, y: x - y if y < x else y - x
    return lambda x, y: abs(x - y)


@operator
def _log_add_exp(x, y):
    """log(exp(x) + exp(y)), where 1 + exp is rounded and what that lost is added again."""
    larger = select(y > x, y, x)
    smaller = select(y > x, x, y)
    one = type(x)(1)
    part = exp(select(x == y, type(x)(0), smaller - larger))
    whole = one + part
    return larger + (log(whole) + (part - (whole - one)) / whole)


@operator
def relu(x):
    """max(x, 0); NaN stays."""
    return type(x)(0) if x < 0 else x


@operator
def gelu(x):
    """x * (1 + erf(x / sqrt(2))) / 2"""
    half = type(x)(0.5)
    return x * (half + half * erf(x * type(x)(_ROOT_HALF)))


@operator
def silu(x):
    """x / (1 + exp(-x))"""
    return x / (type(x)(1) + exp(-x))


@operator
def _relu_of_sum(x, y):
    return relu(x + y)


@operator
def _gelu_of_sum(x, y):
    return gelu(x + y)


@operator
def _silu_of_sum(x, y):
    return silu(x + y)


@operator
def _relu_slope(x, bias, cotangent):
    """cotangent * relu'(x + bias)"""
    return cotangent if x + bias > 0 else type(x)(0)


@operator
def _gelu_slope(x, bias, cotangent):
    """cotangent * gelu'(x + bias)"""
    z, half = x + bias, type(x)(0.5)
    density = exp(-half * z * z) * type(x)(_ROOT_HALF_PI_INVERSE)
    return cotangent * (half + half * erf(z * type(x)(_ROOT_HALF)) + z * density)


@operator
def _silu_slope(x, bias, cotangent):
    """cotangent * silu'(x + bias)"""
    z, one = x + bias, type(x)(1)
    share = one / (one + exp(-z))
    return cotangent * share * (one + z * (one - share))


OPERATORS = {
    "plus": _plus,
    "times": _times,
    "min": _min,
    "max": _max,
    "first": _first,
    "second": _second,
    "pair": _pair,
    "differ": _differ,
    "or": _or,
    "and": _and,
    "xor": _xor,
    "squared_difference": _squared_difference,
    "absolute_difference": _absolute_difference,
    "log_add_exp": _log_add_exp,
    "relu": relu,
    "gelu": gelu,
    "silu": silu,
    "relu_of_sum": _relu_of_sum,
    "gelu_of_sum": _gelu_of_sum,
    "silu_of_sum": _silu_of_sum,
    "relu_slope": _relu_slope,
    "gelu_slope": _gelu_slope,
    "silu_slope": _silu_slope,
}


def identity(name, dtype):
    """The identity of this name in a dtype: "zero", "true", "least" or "greatest"."""
    kind = number(dtype)
    if kind == types.boolean:
        return name in ("true", "greatest")
    if name == "zero":
        return 0
    if isinstance(kind, types.Integer):
        return kind.minval if name == "least" else kind.maxval
    return -np.inf if name == "least" else np.inf
