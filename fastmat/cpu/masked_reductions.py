"""Sums, moments and extreme numbers of the valid numbers of groups.

Arrays come as ``(o, i, p, r, q)``, see `groups`; so does the mask, with length 1 or stride 0 where
it is alike. Sums are held in float64 or int64. Pieces are cut by shape alone and combined in order,
so the bits do not depend on threads.
"""

from fastmat.core.compile import call_on_demand, kernel
from fastmat.cpu.groups import is_across
from fastmat.cpu.masked_across import extremes_across, moments_across, sums_across
from fastmat.cpu.masked_along import extremes_along, moments_along, sums_along
from fastmat.cpu.masked_groups import REALS, extremes_types, moments_types, sums_types


@kernel(sums_types, REALS, from_python=True)
def masked_sums(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # in (o, i, 1, 1, 1), for TIES
    total,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    keep,  # the bits of an integer: all but those that the sign of an unsigned one spreads to
    kind,  # what is added up
):
    """Sum over each group, and the number of its valid numbers."""
    arrays = x, mask, center, total, count, keep, kind
    if is_across(x):
        call_on_demand(sums_across, x.dtype, arrays)
    else:
        call_on_demand(sums_along, x.dtype, arrays)


@kernel(moments_types, REALS, from_python=True)
def masked_moments(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    center,  # out (o, i, 1, 1, 1)
    spread,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    keep,  # the bits of an integer
):
    """Mean of each group, sum of squares of deviations from it, number of valid numbers."""
    arrays = x, mask, center, spread, count, keep
    if is_across(x):
        call_on_demand(moments_across, x.dtype, arrays)
    else:
        call_on_demand(moments_along, x.dtype, arrays)


@kernel(extremes_types, REALS, from_python=True)
def masked_extremes(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    least,  # out (o, i, 1, 1, 1)
    where,  # out (o, i, 1, 1, 1)
    count,  # out (o, i, 1, 1, 1)
    p_step,  # by how much one step along p moves on in what `where` counts
    r_step,
    q_step,
    turn,  # turns the order: 1 or -1 for floats, what integers are changed by
    wanted,  # whether the first places are wanted
):
    """The least number of each group, its first place, and how many numbers are valid."""
    arrays = x, mask, least, where, count, p_step, r_step, q_step, turn, wanted
    if is_across(x):
        call_on_demand(extremes_across, x.dtype, arrays)
    else:
        call_on_demand(extremes_along, x.dtype, arrays)
