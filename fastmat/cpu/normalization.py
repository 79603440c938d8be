"""Normalization: activation((x - center) * factor * weight + bias), group by group.

Arrays come as ``(o, i, p, r, q)``, see `groups`; those that are alike along an axis have
length 1 there. A group that stays in the L2 cache is measured and written in one go; longer ones
are measured first, piece by piece.
"""

from numba.types import float64 as double

from fastmat.core.compile import call_on_demand, kernel
from fastmat.cpu.blocking_reductions import FUSED, FUSED_LINES
from fastmat.cpu.groups import FLOATS, affine_types, factor_of, is_across, is_kept, normalize_types
from fastmat.cpu.moments import statistics
from fastmat.cpu.normalization_across import affine_across, normalize_across
from fastmat.cpu.normalization_along import affine_along, normalize_along
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
    activation,  # address of a map, or 0
):
    """Normalize each group by its own statistics."""
    n = x.size // (x.shape[0] * x.shape[1])
    arrays = x, weight, bias, out, center, factor
    if is_across(x) and n <= FUSED_LINES:
        call_on_demand(normalize_across, x.dtype, (*arrays, kind, rule, eps, activation))
    elif not is_across(x) and n <= FUSED:
        call_on_demand(normalize_along, x.dtype, (*arrays, kind, rule, eps, activation))
    else:
        if not is_kept(center, x):
            shape = x.shape[0], x.shape[1], 1, 1, 1
            center, factor = as_any(scratch(shape, double)), as_any(scratch(shape, double))
        call_on_demand(statistics, x.dtype, (x, center, factor, kind))
        for o in range(x.shape[0]):
            for i in range(x.shape[1]):
                factor[o, i, 0, 0, 0] = factor_of(factor[o, i, 0, 0, 0], n, rule, eps)
        call_on_demand(affine, x.dtype, (x, weight, bias, out, center, factor, activation))


@kernel(affine_types, FLOATS, from_python=True)
def affine(
    x,  # in (o, i, p, r, q), not empty
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q), may be x
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
    activation,  # address of a map, or 0
):
    """out = activation((x - center) * factor * weight + bias)"""
    arrays = x, weight, bias, out, center, factor, activation
    if is_across(x):
        call_on_demand(affine_across, x.dtype, arrays)
    else:
        call_on_demand(affine_along, x.dtype, arrays)
