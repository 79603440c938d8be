"""The mathematics of gradients, number by number, and the arguments of their kernels.

The cotangent is g, the weight w. What flows back through the statistics of a group is known by
two sums over it: of g * w, and of g * w * standardized (or x, where nothing is standardized).
"""

from numba import types

from fastmat.core.compile import reads, writes
from fastmat.core.elementary import exp
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import accumulator
from fastmat.cpu.kinds import (
    CENTERED,
    GIVEN,
    OF_LARGEST,
    OF_LOG_SOFTMAX,
    OF_LOGSUMEXP,
    OF_NORM,
    OF_SOFTMAX,
    SCALED,
)


def sums_types(t):
    """Argument types of the kernels that add up what flows back."""
    statistic = reads(types.float64, 5)
    found = writes(types.float64, 5)
    weight = reads(accumulator(t), 5)
    return reads(t, 5), reads(t, 5), weight, statistic, statistic, found, found, types.intp


def write_types(t):
    """Argument types of the kernels that write gradients by known sums."""
    statistic = reads(types.float64, 5)
    weight = reads(accumulator(t), 5)
    return reads(t, 5), reads(t, 5), weight, *[statistic] * 4, writes(t, 5), types.intp


def write_both_types(t):
    """Argument types of the kernel that also finds what weight and bias get."""
    *arrays, kind = write_types(t)
    return *arrays, writes(types.float64, 5), writes(types.float64, 5), kind


def gradient_types(t):
    """Argument types of the kernels that do both."""
    statistic = reads(types.float64, 5)
    found = writes(types.float64, 5)
    weight = reads(accumulator(t), 5)
    how = types.intp, types.float64
    return reads(t, 5), reads(t, 5), weight, statistic, statistic, writes(t, 5), found, found, *how


@inlined
def is_linear(kind):
    """Whether the gradient is one of the first four."""
    return kind <= OF_NORM


@always_inlined
def flowing_back(kind, first, second, n, factor, eps):
    """Shift and slope of a group by its two sums."""
    if kind == CENTERED:
        return first / n, second / n
    if kind == SCALED:
        return 0.0, second / n
    if kind == OF_SOFTMAX:
        return second, 0.0
    if kind == OF_LOG_SOFTMAX:
        return first, 0.0
    if kind == GIVEN or kind == OF_LOGSUMEXP or factor >= 1 / eps:  # the norm is less than eps
        return 0.0, 0.0
    if kind == OF_NORM:
        return 0.0, second
    return 0.0, second * factor / (first if kind == OF_LARGEST else 1.0)


@inlined
def is_of_softmax(kind):
    """Whether it is a gradient of softmax or its kin."""
    return kind >= OF_SOFTMAX


@always_inlined
def softmax_gradient(kind, g, x, center, shift, rest):
    """The gradient by one number, of softmax or its kin; `rest` is what rounding took off shift."""
    if kind == OF_SOFTMAX:
        return x * ((g - shift) - rest)
    if kind == OF_LOG_SOFTMAX:
        return g - exp(x) * shift
    return g * exp(x - center)


@always_inlined
def signed_gradient(kind, g, x, center, factor, slope):
    """The gradient by one number, in float64, of a norm that is a sum or a maximum."""
    if kind == OF_LARGEST and abs(x) != center:
        return factor * g
    sign = 1.0 if x > 0 else -1.0 if x < 0 else x
    return factor * (g - sign * slope)
