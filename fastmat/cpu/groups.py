"""Groups of numbers in five axes: ``(o, i, p, r, q)``, each (o, i) a group, over p, r and q."""

import math

from numba import types

from fastmat.core.compile import reads, writes
from fastmat.core.inline import always_inlined, inlined
from fastmat.core.mathfn import accumulator, boolean
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import CHUNK, FUSED, FUSED_LINES, LARGE, SERIAL, SHORT
from fastmat.cpu.kinds import MEAN_SPREAD, ROOT_NORM
from fastmat.cpu.lines import line
from fastmat.cpu.views import part

FLOATS = ("float16", "bfloat16", "float32", "float64")


def statistics_types(t):
    """Argument types of the kernels that measure groups."""
    return reads(t, 5), writes(types.float64, 5), writes(types.float64, 5), types.intp


def normalize_types(t):
    """Argument types of the kernels that normalize groups by their own statistics."""
    parameter = reads(accumulator(t), 5)
    statistic = writes(types.float64, 5)
    how = types.intp, types.intp, types.float64
    return reads(t, 5), parameter, parameter, writes(t, 5), statistic, statistic, *how


def normalize_sum_types(t):
    """Argument types of the kernel that normalizes the sum of two arrays."""
    x, weight, bias, out, *statistics = with_map(normalize_types)(t)
    return x, x, weight, bias, out, out, *statistics


def with_map(signature):
    """The argument types with the address of a map as the last."""
    return lambda t: (*signature(t), types.intp)


def affine_types(t):
    """Argument types of the kernels that normalize groups by given statistics."""
    parameter = reads(accumulator(t), 5)
    statistic = reads(types.float64, 5)
    return reads(t, 5), parameter, parameter, writes(t, 5), statistic, statistic


def softmax_types(t):
    """Argument types of the kernels of softmax."""
    return reads(t, 5), writes(t, 5), types.intp


def with_mask(signature, after=1):
    """The argument types with that of a mask after the first, or so many."""
    return lambda t: (*signature(t)[:after], reads(boolean, 5), *signature(t)[after:])


@inlined
def is_across(x):
    """Whether groups lie side by side, or are so short that they are better computed so."""
    _, inner, p, r, q = x.shape
    return inner > 1 and (abs(x.strides[1]) < abs(x.strides[4]) or q == 1 or p * r * q <= SHORT)


@inlined
def is_fused(x, weight):
    """Whether gradients by x, weight and bias are found together, in one pass over memory."""
    n = x.shape[2] * x.shape[3] * x.shape[4]
    if is_across(x):  # lines have either a weight each, or one together
        by_line = weight.shape[0] == 1 and weight.shape[1] == 1 and weight.size in (1, n)
        return n <= FUSED_LINES and by_line
    return n <= FUSED


@inlined
def is_extreme(factor):
    """Whether float32 is too small for a factor, or for what it is multiplied with."""
    return factor >= LARGE or factor <= 1 / LARGE


@inlined
def is_kept(center, x):
    """Whether statistics are wanted: otherwise there is room for one number only."""
    return center.shape[0] == x.shape[0] and center.shape[1] == x.shape[1]


@inlined
def groups_of(x, block):
    """Some groups of an array: block is (o0, o1, i0, i1); axes of length 1 are repeated."""
    o0, o1, i0, i1 = block
    o0, o1 = (o0, o1) if x.shape[0] > 1 else (0, 1)
    i0, i1 = (i0, i1) if x.shape[1] > 1 else (0, 1)
    return part(x, o0, o1, i0, i1, 0, x.shape[2], 0, x.shape[3], 0, x.shape[4])


@inlined
def threads_for(x):
    """How many threads work on an array."""
    return num_threads() if x.size > SERIAL else 1


@inlined
def chunks(x):
    """The number of chunks that a group is read in."""
    return x.shape[2] * x.shape[3] * ceil_div(x.shape[4], CHUNK)


@always_inlined
def chunk(
    x,  # in (o, i, p, r, q); axes of length 1 are repeated
    o,
    i,
    c,  # number of the chunk
    shape,  # (o, i, p, r, q)
):
    """A chunk of a group: at most CHUNK numbers along the last axis."""
    in_a_line = ceil_div(shape[4], CHUNK)
    run, first = c // in_a_line, c % in_a_line * CHUNK
    numbers = line(x, o, i, run // shape[3], run % shape[3], first)
    return part(numbers, 0, CHUNK)


@inlined
def factor_of(spread, n, rule, eps):
    if rule == MEAN_SPREAD:
        return 1 / math.sqrt(spread / n + eps)
    norm = math.sqrt(spread) if rule == ROOT_NORM else spread
    return 1 / (eps if norm < eps else norm)
