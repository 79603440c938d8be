"""Normalization: (x - center) * factor * weight + bias, group by group.

Arrays come as ``(o, i, p, r, q)``, see `groups`; those that are alike along an axis have
length 1 there. A group that stays in the L2 cache is measured and written in one go; longer ones
are measured first, piece by piece.
"""

from numba.types import float64 as double

from fastmat.core.compile import call_on_demand, kernel
from fastmat.core.inline import inlined
from fastmat.cpu.blocking_reductions import FUSED, FUSED_LINES
from fastmat.cpu.groups import (
    FLOATS,
    affine_types,
    factor_of,
    is_across,
    is_kept,
    normalize_types,
    with_map,
)
from fastmat.cpu.moments import statistics
from fastmat.cpu.normalization_across import (
    affine_across,
    affine_and_map_across,
    normalize_across,
    normalize_and_map_across,
)
from fastmat.cpu.normalization_along import (
    affine_along,
    affine_and_map_along,
    normalize_along,
    normalize_and_map_along,
)
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import as_any


@kernel(normalize_types, FLOATS, from_python=True)
def normalize(
    x,  # in (o, i, p, r, q), not empty
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q), may be x
    center,  # out (o, i, 1, 1, 1)
    factor,  # out (o, i, 1, 1, 1)
    kind,  # what to measure
    rule,  # what to make of the spread
    eps,
):
    """Normalize each group by its own statistics."""
    arrays, how = (x, weight, bias, out, center, factor), (kind, rule, eps)
    if stays_in_cache(x):
        if is_across(x):
            call_on_demand(normalize_across, x.dtype, (*arrays, *how))
        else:
            call_on_demand(normalize_along, x.dtype, (*arrays, *how))
    else:
        center, factor = measure(x, center, factor, how)
        call_on_demand(affine, x.dtype, (x, weight, bias, out, center, factor))


@kernel(with_map(normalize_types), FLOATS, from_python=True)
def normalize_and_map(x, weight, bias, out, center, factor, kind, rule, eps, activation):
    """The same, and apply the map of this address."""
    arrays, how = (x, weight, bias, out, center, factor), (kind, rule, eps)
    if stays_in_cache(x):
        if is_across(x):
            call_on_demand(normalize_and_map_across, x.dtype, (*arrays, *how, activation))
        else:
            call_on_demand(normalize_and_map_along, x.dtype, (*arrays, *how, activation))
    else:
        center, factor = measure(x, center, factor, how)
        arrays = (x, weight, bias, out, center, factor, activation)
        if is_across(x):
            call_on_demand(affine_and_map_across, x.dtype, arrays)
        else:
            call_on_demand(affine_and_map_along, x.dtype, arrays)


@inlined
def stays_in_cache(x):
    """Whether groups are measured and written in one go, while they are in the L2 cache."""
    n = x.shape[2] * x.shape[3] * x.shape[4]
    return n <= (FUSED_LINES if is_across(x) else FUSED)


@inlined
def measure(x, center, factor, how):
    """Center and factor of each group, in the arrays given if there is room."""
    kind, rule, eps = how
    if not is_kept(center, x):
        shape = x.shape[0], x.shape[1], 1, 1, 1
        center, factor = as_any(scratch(shape, double)), as_any(scratch(shape, double))
    call_on_demand(statistics, x.dtype, (x, center, factor, kind))
    n = x.shape[2] * x.shape[3] * x.shape[4]
    for o in range(x.shape[0]):
        for i in range(x.shape[1]):
            factor[o, i, 0, 0, 0] = factor_of(factor[o, i, 0, 0, 0], n, rule, eps)
    return center, factor


@kernel(affine_types, FLOATS, from_python=True)
def affine(
    x,  # in (o, i, p, r, q), not empty
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q), may be x
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
):
    """out = (x - center) * factor * weight + bias"""
    arrays = x, weight, bias, out, center, factor
    if is_across(x):
        call_on_demand(affine_across, x.dtype, arrays)
    else:
        call_on_demand(affine_along, x.dtype, arrays)
