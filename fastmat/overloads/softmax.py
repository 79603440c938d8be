"""`softmax`, `log_softmax` and `logsumexp` inside ``@njit``."""

import numpy as np
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.kinds import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from fastmat.cpu.softmax import softmax as kernel
from fastmat.ops import softmax as ops
from fastmat.overloads.groups import (
    check_output,
    constant,
    constant_axes,
    floating,
    in_slots,
    is_joined,
    kept_only,
    only_number,
    plan,
    ready,
    statistics_shape,
    writer,
)
from fastmat.overloads.typing import given


def _same_shape(x, axis, out, kind):
    """A function (x, out) of the operation with a result of the shape of x."""
    dtype = floating(x)
    slots = plan(x, constant_axes(axis, x.ndim))
    joined = is_joined(slots)
    read, full = ready(x, dtype, joined), in_slots(slots)

    @inlined
    def run(arguments, extra, target):
        if target.size:
            a = full(arguments[0])
            call_all(kernel, a.dtype, (a, full(target), kind))

    write = writer(x, out, dtype, joined, run)
    return inlined(lambda x, out: write((read(x),), None, x, out))


@overload(ops.softmax, prefer_literal=True)
def _softmax(x, axis=-1, out=None):
    run = _same_shape(x, axis, out, SOFTMAX)
    return lambda x, axis=-1, out=None: run(x, out)


@overload(ops.log_softmax, prefer_literal=True)
def _log_softmax(x, axis=-1, out=None):
    run = _same_shape(x, axis, out, LOG_SOFTMAX)
    return lambda x, axis=-1, out=None: run(x, out)


@overload(ops.logsumexp, prefer_literal=True)
def _logsumexp(x, axis=-1, keepdims=False, out=None):
    dtype = floating(x)
    axes = constant_axes(axis, x.ndim)
    slots = plan(x, axes)
    read, full = ready(x, dtype, is_joined(slots)), in_slots(slots)
    shape_of = statistics_shape(x.ndim, axes)
    kept = tuple(axis for axis in range(x.ndim) if axis not in axes)
    keep = constant(keepdims, "keepdims", bool)
    item = NUMBA_DTYPES[dtype.name]

    @inlined
    def compute(x):
        result = np.full(shape_of(x), -np.inf, item)
        if x.size:
            a = full(read(x))
            call_all(kernel, a.dtype, (a, full(result), LOGSUMEXP))
        return result

    reduced = kept_only(x.ndim, kept, keep)
    ndim = x.ndim if keep else len(kept)
    if not given(out):
        if ndim == 0:
            number = only_number(x.ndim)
            return lambda x, axis=-1, keepdims=False, out=None: number(compute(x))
        return lambda x, axis=-1, keepdims=False, out=None: reduced(compute(x))
    check_output(out, ndim, dtype)

    def logsumexp(x, axis=-1, keepdims=False, out=None):
        result = reduced(compute(x))
        if out.shape != result.shape:
            raise ValueError("out has another shape than the result")
        out[...] = result
        return out

    return logsumexp
