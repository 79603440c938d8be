"""Softmax, its logarithm, and the logarithm of the sum of exponentials, group by group.

Arrays come as ``(o, i, p, r, q)``, see `groups`. The largest number of a group is taken off
first, so that no exponential overflows; sums are held in float64. A group that stays in the
cache is read from memory once; of longer ones, largest number and sum of each piece are found
first, and the sums brought to a common scale (Milakov and Gimelshein, "Online normalizer
calculation for softmax", 2018, arXiv:1805.02867).
"""

from fastmat.core.compile import call_on_demand, kernel
from fastmat.cpu.groups import FLOATS, is_across, softmax_types, with_mask
from fastmat.cpu.softmax_across import masked_softmax_across, softmax_across
from fastmat.cpu.softmax_along import masked_softmax_along, softmax_along


@kernel(softmax_types, FLOATS, from_python=True)
def softmax(
    x,  # in (o, i, p, r, q), not empty
    out,  # out (o, i, p, r, q), may be x; for LOGSUMEXP (o, i, 1, 1, 1)
    kind,  # what to compute
):
    """exp(x) / sum(exp(x)), its logarithm, or log(sum(exp(x)))."""
    if is_across(x):
        call_on_demand(softmax_across, x.dtype, (x, out, kind))
    else:
        call_on_demand(softmax_along, x.dtype, (x, out, kind))


@kernel(with_mask(softmax_types), FLOATS, from_python=True)
def masked_softmax(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    out,  # out (o, i, p, r, q), may be x; for LOGSUMEXP (o, i, 1, 1, 1)
    kind,  # what to compute
):
    """The same of the numbers whose mask is True: the others get 0, or -inf for its logarithm."""
    if is_across(x):
        call_on_demand(masked_softmax_across, x.dtype, (x, mask, out, kind))
    else:
        call_on_demand(masked_softmax_along, x.dtype, (x, mask, out, kind))
