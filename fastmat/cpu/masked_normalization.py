"""Normalization of the numbers that a mask keeps, by given statistics; what is masked becomes 0.

Twins of the kernels in `normalization`.
"""

from fastmat.core.compile import call_on_demand, kernel
from fastmat.cpu import normalization_across, normalization_along
from fastmat.cpu.groups import FLOATS, affine_types, is_across, with_map, with_mask

masked_types = with_mask(affine_types)


@kernel(masked_types, FLOATS, from_python=True)
def masked_affine(
    x,  # in (o, i, p, r, q), not empty
    mask,  # in (o, i, p, r, q) or 1 where it is alike
    weight,  # in (o, i, p, r, q) or 1 where it is alike
    bias,  # in, of the shape of weight
    out,  # out (o, i, p, r, q), may be x
    center,  # in (o, i, 1, 1, 1)
    factor,  # in (o, i, 1, 1, 1)
):
    """out = (x - center) * factor * weight + bias"""
    arrays = x, mask, weight, bias, out, center, factor
    if is_across(x):
        call_on_demand(masked_affine_across, x.dtype, arrays)
    else:
        call_on_demand(masked_affine_along, x.dtype, arrays)


@kernel(with_map(masked_types), FLOATS, from_python=True)
def masked_affine_and_map(x, mask, weight, bias, out, center, factor, activation):
    """The same, and apply the map of this address."""
    arrays = x, mask, weight, bias, out, center, factor, activation
    if is_across(x):
        call_on_demand(masked_affine_and_map_across, x.dtype, arrays)
    else:
        call_on_demand(masked_affine_and_map_along, x.dtype, arrays)


@kernel(masked_types, FLOATS)
def masked_affine_along(x, mask, weight, bias, out, center, factor):
    """The same of groups that lie along the last axis."""
    normalization_along.write_all((x, mask, weight, bias, out), (center, factor), None)


@kernel(masked_types, FLOATS)
def masked_affine_across(x, mask, weight, bias, out, center, factor):
    """The same of groups that lie side by side."""
    normalization_across.write_all((x, mask, weight, bias, out), (center, factor), None)


@kernel(with_map(masked_types), FLOATS)
def masked_affine_and_map_along(x, mask, weight, bias, out, center, factor, activation):
    """The same of groups that lie along the last axis, with a map."""
    normalization_along.write_all((x, mask, weight, bias, out), (center, factor), activation)


@kernel(with_map(masked_types), FLOATS)
def masked_affine_and_map_across(x, mask, weight, bias, out, center, factor, activation):
    """The same of groups that lie side by side, with a map."""
    normalization_across.write_all((x, mask, weight, bias, out), (center, factor), activation)
