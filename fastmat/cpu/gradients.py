"""Gradients of normalizations and of softmax, group by group: vector-Jacobian products.

Arrays come as ``(o, i, p, r, q)``, see `groups`, and the mathematics is in `derivatives`. Groups
that stay in the L2 cache are read from memory once; of longer ones the sums are found first.
"""

from numba import types
from numba.types import float64 as double

from fastmat.core.compile import call_on_demand, kernel, writes
from fastmat.cpu.derivatives import flowing_back, gradient_types, sums_types, write_types
from fastmat.cpu.gradients_across import gradient_across, sums_across, write_across
from fastmat.cpu.gradients_along import gradient_along, sums_along, write_along, write_both_along
from fastmat.cpu.groups import FLOATS, is_across, is_fused
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import as_any


def all_gradients_types(t):
    """Argument types of the kernel that says whether it did anything, too."""
    return *gradient_types(t), writes(types.intp, 1)


@kernel(all_gradients_types, FLOATS, from_python=True)
def gradient(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    by_weight,  # inout, of the shape of weight; empty if it is not wanted
    by_bias,  # inout, of the shape of weight
    kind,  # what the gradient is of
    eps,  # the least norm that is divided by
    done,  # out (1,): 0 if weight and bias must come first, apart, because nothing was done yet
):
    """The gradient by x, and in the same pass those by weight and bias, if they are wanted."""
    fused, wanted = is_fused(x, weight), by_weight.size > 0
    n = x.shape[2] * x.shape[3] * x.shape[4]
    by_number = weight.shape[0] * weight.shape[1] == 1 and weight.size == n and not is_across(x)
    done[0] = fused or by_number or not wanted
    if not done[0]:
        return
    if fused:
        arrays = cotangent, x, weight, center, factor, out, by_weight, by_bias, kind, eps
        if is_across(x):
            call_on_demand(gradient_across, x.dtype, arrays)
        else:
            call_on_demand(gradient_along, x.dtype, arrays)
        return
    shape = x.shape[0], x.shape[1], 1, 1, 1
    shift, slope = as_any(scratch(shape, double)), as_any(scratch(shape, double))
    arrays = cotangent, x, weight, center, factor
    call_on_demand(sums, x.dtype, (*arrays, shift, slope, kind))
    for o in range(x.shape[0]):
        for i in range(x.shape[1]):
            found = shift[o, i, 0, 0, 0], slope[o, i, 0, 0, 0]
            flow = flowing_back(kind, *found, n, factor[o, i, 0, 0, 0], eps)
            shift[o, i, 0, 0, 0], slope[o, i, 0, 0, 0] = flow
    if wanted:
        both = by_weight, by_bias
        call_on_demand(write_both_along, x.dtype, (*arrays, shift, slope, out, *both, kind))
    else:
        call_on_demand(write, x.dtype, (*arrays, shift, slope, out, kind))


@kernel(sums_types, FLOATS, from_python=True)
def sums(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, p, r, q) or 1 where it is alike
    factor,  # in, of the shape of center
    first,  # out (o, i, 1, 1, 1)
    second,  # out (o, i, 1, 1, 1)
    kind,  # what the gradient is of
):
    """The two sums of each group."""
    arrays = cotangent, x, weight, center, factor, first, second, kind
    if is_across(x):
        call_on_demand(sums_across, x.dtype, arrays)
    else:
        call_on_demand(sums_along, x.dtype, arrays)


@kernel(write_types, FLOATS, from_python=True)
def write(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    shift,  # in (o, i, 1, 1, 1)
    slope,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    kind,  # what the gradient is of
):
    """The gradient by x, of known shift and slope."""
    arrays = cotangent, x, weight, center, factor, shift, slope, out, kind
    if is_across(x):
        call_on_demand(write_across, x.dtype, arrays)
    else:
        call_on_demand(write_along, x.dtype, arrays)
