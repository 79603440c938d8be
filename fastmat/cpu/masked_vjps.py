"""Gradients of what was computed with a mask, group by group: twins of those in `gradients`.

What is masked counts for nothing, whatever it is, and its gradient is 0. Gradients by weight and
bias are sums of their own, over other axes.
"""

from numba import types
from numba.types import float64 as double

from fastmat.core.compile import call_on_demand, kernel, writes
from fastmat.cpu import gradients_across, gradients_along
from fastmat.cpu.derivatives import flowing_back, gradient_types, sums_types, write_types
from fastmat.cpu.groups import FLOATS, is_across, is_fused, with_mask
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import as_any


def masked_sums_types(t):
    """Argument types of the kernels that add up what flows back, and count."""
    *arrays, kind = with_mask(sums_types, 2)(t)
    return *arrays, writes(types.float64, 5), kind


def masked_gradient_types(t):
    """Argument types of the kernels that find the gradient by x alone."""
    *arrays, _by_weight, _by_bias, kind, _eps = with_mask(gradient_types, 2)(t)
    return *arrays, kind


@kernel(masked_sums_types, FLOATS)
def masked_sums_along(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, p, r, q) or 1 where it is alike
    factor,  # in, of the shape of center
    first,  # out (o, i, 1, 1, 1)
    second,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1): how many numbers are kept
    kind,  # what the gradient is of
):
    """The two sums of each group."""
    arrays = cotangent, x, mask, weight, center, factor
    gradients_along.find_sums(arrays, first, second, count, kind)


@kernel(masked_sums_types, FLOATS)
def masked_sums_across(cotangent, x, mask, weight, center, factor, first, second, count, kind):
    """The same of groups that lie side by side."""
    arrays = cotangent, x, mask, weight, center, factor
    gradients_across.find_sums(arrays, first, second, count, kind)


@kernel(with_mask(write_types, 2), FLOATS)
def masked_write_along(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    shift,  # in (o, i, 1, 1, 1)
    slope,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    kind,  # what the gradient is of
):
    """The gradient by x, of known shift and slope."""
    arrays, statistics = (cotangent, x, mask, weight, out), (center, factor, shift, slope)
    gradients_along.write_all(arrays, statistics, kind)


@kernel(with_mask(write_types, 2), FLOATS)
def masked_write_across(cotangent, x, mask, weight, center, factor, shift, slope, out, kind):
    """The same of groups that lie side by side."""
    arrays, statistics = (cotangent, x, mask, weight, out), (center, factor, shift, slope)
    gradients_across.write_all(arrays, statistics, kind)


@kernel(masked_gradient_types, FLOATS)
def masked_gradient_along(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    kind,  # what the gradient is of
):
    """The gradient by x of groups that stay in the L2 cache."""
    arrays, none = (cotangent, x, mask, weight, center, factor, out), scratch((0,) * 5, double)
    gradients_along.find_gradients(arrays, as_any(none), as_any(none), kind, 0.0)


@kernel(masked_gradient_types, FLOATS)
def masked_gradient_across(cotangent, x, mask, weight, center, factor, out, kind):
    """The gradient by x of groups of which a block stays in the L2 cache."""
    arrays, none = (cotangent, x, mask, weight, center, factor, out), scratch((0,) * 5, double)
    gradients_across.find_gradients(arrays, as_any(none), as_any(none), kind, 0.0)


@kernel(masked_gradient_types, FLOATS, from_python=True)
def masked_gradient(
    cotangent,  # in (o, i, p, r, q), not empty
    x,  # in (o, i, p, r, q)
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    out,  # out (o, i, p, r, q), may be x or the cotangent
    kind,  # what the gradient is of
):
    """The gradient by x."""
    if is_fused(x, weight):
        arrays = cotangent, x, mask, weight, center, factor, out, kind
        if is_across(x):
            call_on_demand(masked_gradient_across, x.dtype, arrays)
        else:
            call_on_demand(masked_gradient_along, x.dtype, arrays)
        return
    shape = x.shape[0], x.shape[1], 1, 1, 1
    shift, slope = as_any(scratch(shape, double)), as_any(scratch(shape, double))
    count = as_any(scratch(shape, double))
    arrays = cotangent, x, mask, weight, center, factor
    call_on_demand(masked_sums, x.dtype, (*arrays, shift, slope, count, kind))
    for o in range(x.shape[0]):
        for i in range(x.shape[1]):
            place = o, i, 0, 0, 0
            found = shift[place], slope[place], count[place], factor[place]
            shift[place], slope[place] = flowing_back(kind, *found, 0.0)
    call_on_demand(masked_write, x.dtype, (*arrays, shift, slope, out, kind))


@kernel(masked_sums_types, FLOATS, from_python=True)
def masked_sums(cotangent, x, mask, weight, center, factor, first, second, count, kind):
    """The two sums of each group, and how many numbers they are of."""
    arrays = cotangent, x, mask, weight, center, factor, first, second, count, kind
    if is_across(x):
        call_on_demand(masked_sums_across, x.dtype, arrays)
    else:
        call_on_demand(masked_sums_along, x.dtype, arrays)


@kernel(with_mask(write_types, 2), FLOATS, from_python=True)
def masked_write(cotangent, x, mask, weight, center, factor, shift, slope, out, kind):
    """The gradient by x, of known shift and slope."""
    arrays = cotangent, x, mask, weight, center, factor, shift, slope, out, kind
    if is_across(x):
        call_on_demand(masked_write_across, x.dtype, arrays)
    else:
        call_on_demand(masked_write_along, x.dtype, arrays)
