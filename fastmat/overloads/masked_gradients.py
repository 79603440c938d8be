"""The gradients of masked reductions inside ``@njit``."""

import math

import numpy as np
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.kinds import ALIKE, DEVIATIONS, EXTREMES
from fastmat.cpu.masked_gradients import masked_gradient
from fastmat.ops import masked_gradients as ops
from fastmat.overloads.groups import constant_axes, floating, is_joined, plan, ready, writer
from fastmat.overloads.masked_groups import Views, measured, per_group, summed, tied


class _Gradient:
    """What the gradients share: functions that read the arguments, and that write the result."""

    def __init__(self, cotangent, x, mask, axis, keepdims, out, kind):
        dtype = floating(x)
        self.axes = axes = constant_axes(axis, x.ndim)
        joined = is_joined(plan(x, axes, join=True))
        self.read = ready(x, dtype, joined)
        self.array = x.copy(dtype=NUMBA_DTYPES[dtype.name], layout="C" if joined else x.layout)
        self.cotangent = per_group(cotangent, "cotangent", x, axes, keepdims)
        views = Views(self.array, mask, axes)
        view, tight, repeated = views.view, views.tight, views.repeated

        @inlined
        def run(arguments, extra, target):
            x, mask, center, factor = arguments
            if x.size:
                valid = repeated(mask, x)
                how = tight(valid)
                a, m, b = view(x, how), view(valid, how), view(target, how)
                statistics = view(center, how), view(factor, how)
                call_all(masked_gradient, a.dtype, (a, m, *statistics, b, kind))

        self.write = writer(x, out, dtype, joined, run)


@overload(ops.masked_sum_vjp, prefer_literal=True)
def _masked_sum_vjp(cotangent, x, mask, axis=None, keepdims=False, out=None):
    shared = _Gradient(cotangent, x, mask, axis, keepdims, out, ALIKE)
    read, read_cotangent, write = shared.read, shared.cotangent, shared.write

    def masked_sum_vjp(cotangent, x, mask, axis=None, keepdims=False, out=None):
        g = read_cotangent(cotangent, x)
        return write((read(x), mask, np.zeros(g.shape), g), None, x, out)

    return masked_sum_vjp


@inlined
def _divide(g, count):
    """Cotangents over how many numbers share them."""
    factor = g.copy()
    flat, counts = factor.reshape(factor.size), count.reshape(factor.size)
    for k in range(flat.shape[0]):
        flat[k] /= max(counts[k], 1)
    return factor


@overload(ops.masked_mean_vjp, prefer_literal=True)
def _masked_mean_vjp(cotangent, x, mask, axis=None, keepdims=False, out=None):
    shared = _Gradient(cotangent, x, mask, axis, keepdims, out, ALIKE)
    read, read_cotangent, write = shared.read, shared.cotangent, shared.write
    add = summed(shared.array, mask, shared.axes)

    def masked_mean_vjp(cotangent, x, mask, axis=None, keepdims=False, out=None):
        g, array = read_cotangent(cotangent, x), read(x)
        factor = _divide(g, add(array, mask)[1])
        return write((array, mask, np.zeros(g.shape), factor), None, x, out)

    return masked_mean_vjp


def _spread_vjp(cotangent, x, mask, axis, keepdims, out, root):
    """A function (cotangent, x, mask, correction, out): the gradient of variances or roots."""
    shared = _Gradient(cotangent, x, mask, axis, keepdims, out, DEVIATIONS)
    read, read_cotangent, write = shared.read, shared.cotangent, shared.write
    measure = measured(shared.array, mask, shared.axes)

    def vjp(cotangent, x, mask, correction, out):
        factor, array = read_cotangent(cotangent, x).copy(), read(x)
        mean, total, count = measure(array, mask)
        flat, n = factor.reshape(factor.size), count.reshape(factor.size)
        squares = total.reshape(factor.size)
        for g in range(flat.shape[0]):
            left = max(n[g] - correction, 0.0)
            if not root:
                flat[g] *= 2 / left
            elif squares[g] == 0:
                flat[g] = 0.0
            else:
                flat[g] /= left * math.sqrt(squares[g] / left)
        return write((array, mask, mean, factor), None, x, out)

    return inlined(vjp)


@overload(ops.masked_var_vjp, prefer_literal=True)
def _masked_var_vjp(cotangent, x, mask, axis=None, keepdims=False, correction=0, out=None):
    run = _spread_vjp(cotangent, x, mask, axis, keepdims, out, False)

    def masked_var_vjp(cotangent, x, mask, axis=None, keepdims=False, correction=0, out=None):
        return run(cotangent, x, mask, correction, out)

    return masked_var_vjp


@overload(ops.masked_std_vjp, prefer_literal=True)
def _masked_std_vjp(cotangent, x, mask, axis=None, keepdims=False, correction=0, out=None):
    run = _spread_vjp(cotangent, x, mask, axis, keepdims, out, True)

    def masked_std_vjp(cotangent, x, mask, axis=None, keepdims=False, correction=0, out=None):
        return run(cotangent, x, mask, correction, out)

    return masked_std_vjp


def _extreme_vjp(cotangent, x, mask, result, axis, keepdims, out):
    """A function (cotangent, x, mask, result, out): the gradient of a least or largest number."""
    shared = _Gradient(cotangent, x, mask, axis, keepdims, out, EXTREMES)
    read, read_cotangent, write = shared.read, shared.cotangent, shared.write
    read_result = per_group(result, "result", x, shared.axes, keepdims)
    count_ties = tied(shared.array, mask, shared.axes)

    def vjp(cotangent, x, mask, result, out):
        array, extreme = read(x), read_result(result, x)
        factor = _divide(read_cotangent(cotangent, x), count_ties(array, mask, extreme)[0])
        return write((array, mask, extreme, factor), None, x, out)

    return inlined(vjp)


@overload(ops.masked_min_vjp, prefer_literal=True)
def _masked_min_vjp(cotangent, x, mask, result, axis=None, keepdims=False, out=None):
    run = _extreme_vjp(cotangent, x, mask, result, axis, keepdims, out)

    def masked_min_vjp(cotangent, x, mask, result, axis=None, keepdims=False, out=None):
        return run(cotangent, x, mask, result, out)

    return masked_min_vjp


@overload(ops.masked_max_vjp, prefer_literal=True)
def _masked_max_vjp(cotangent, x, mask, result, axis=None, keepdims=False, out=None):
    run = _extreme_vjp(cotangent, x, mask, result, axis, keepdims, out)

    def masked_max_vjp(cotangent, x, mask, result, axis=None, keepdims=False, out=None):
        return run(cotangent, x, mask, result, out)

    return masked_max_vjp
