"""Normalization of the sum of two arrays, which is kept as well."""

from fastmat.core.compile import call_on_demand, kernel
from fastmat.cpu.addition import add
from fastmat.cpu.blocking_reductions import LANES, SUMMED
from fastmat.cpu.groups import FLOATS, groups_of, is_across, normalize_sum_types
from fastmat.cpu.normalization import normalize, normalize_and_map


@kernel(normalize_sum_types, FLOATS, from_python=True)
def normalize_sum(
    x,  # in (o, i, p, r, q), not empty
    residual,  # in (o, i, p, r, q)
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q)
    total,  # out (o, i, p, r, q)
    center,  # out (o, i, 1, 1, 1)
    factor,  # out (o, i, 1, 1, 1)
    kind,  # what to measure
    rule,  # what to make of the spread
    eps,
    activation,  # address of a map, or 0
):
    """total = x + residual, and that normalized: so many groups at once as stay in the cache."""
    inner, n = x.shape[1], x.shape[2] * x.shape[3] * x.shape[4]
    wide = max(1, SUMMED // n)
    wide = min(inner, max(LANES, wide // LANES * LANES) if is_across(x) else wide)
    deep = max(1, SUMMED // (n * wide))
    for o in range(0, x.shape[0], deep):
        for i in range(0, inner, wide):
            block = o, o + deep, i, i + wide
            parts = groups_of(x, block), groups_of(residual, block), groups_of(total, block)
            call_on_demand(add, x.dtype, parts)
            parameters = groups_of(weight, block), groups_of(bias, block)
            statistics = groups_of(center, block), groups_of(factor, block)
            arrays = parts[2], *parameters, groups_of(out, block), *statistics
            if activation:
                call_on_demand(normalize_and_map, x.dtype, (*arrays, kind, rule, eps, activation))
            else:
                call_on_demand(normalize, x.dtype, (*arrays, kind, rule, eps))
