"""Statistics of groups of numbers: mean and spread, sums of squares or magnitudes, the largest.

Arrays come as ``(o, i, p, r, q)``, see `groups`. Statistics are held in float64 and computed in
two passes over a piece that stays in the cache, mean first, then squares of deviations; pieces
are combined in order (Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
The American Statistician 37(3), 1983). Pieces are cut by shape alone, so the bits do not depend
on threads.
"""

from fastmat.core.compile import call_on_demand, kernel
from fastmat.cpu.groups import FLOATS, is_across, statistics_types
from fastmat.cpu.moments_across import statistics_across
from fastmat.cpu.moments_along import statistics_along


@kernel(statistics_types, FLOATS, from_python=True)
def statistics(
    x,  # in (o, i, p, r, q), not empty
    center,  # out (o, i, 1, 1, 1)
    spread,  # out (o, i, 1, 1, 1)
    kind,  # what to measure
):
    """Center and spread of each group."""
    if is_across(x):
        call_on_demand(statistics_across, x.dtype, (x, center, spread, kind))
    else:
        call_on_demand(statistics_along, x.dtype, (x, center, spread, kind))
