"""Whether a result is right, by error analysis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastmat.comparisons import (
    checks_attention,
    checks_gradients,
    checks_programs,
    decompositions,
    draws,
    libraries,
    masked_reductions,
    moves,
    programs,
    tall,
)
from fastmat.comparisons.cases import OF_HEADS, PARAMETERS, Case
from fastmat.comparisons.inputs import Array


def error(case: Case, arrays: tuple[Array, ...], result: Array, expected: Array) -> float:
    """The largest error, in units of what rounding permits: above 1 the result is wrong.

    Two sums of k products of floats, each rounded in any order, differ by at most
    2 k u |A||B| to first order (u: half the machine epsilon; Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd ed., eq. 3.5). A complex product counts as two more terms and a
    factor of sqrt(2) (ibid., lemma 3.5). float16 is summed in float32 and rounded once.
    Operations on groups of numbers are held against float64, see `_error_on_groups`; random numbers
    against those of plain NumPy, see `draws`; decompositions by what they leave of the matrix.
    Everything else has to agree to the last bit.
    """
    if result.shape != expected.shape or result.dtype != expected.dtype:
        return float("inf")
    if draws.has(case):
        return draws.error(case, result, expected)
    if tall.has(case) or decompositions.has(case):
        if np.array_equal(result, expected):
            return 0.0
        if tall.has(case):
            return tall.error(case, arrays, result)
        return decompositions.error(case, arrays, result, expected)
    exact = "transpose" in case.op or case.op in moves.PARAMETERS
    if expected.dtype.kind not in "fc" or exact:
        return 0.0 if np.array_equal(result, expected) else float("inf")
    wide = np.dtype(np.float32) if expected.dtype == np.float16 else expected.real.dtype
    if programs.has(case):
        allowed = checks_programs.bound(case, arrays, expected)
        return _largest_ratio(np.abs(result - expected), allowed)
    if case.op in PARAMETERS:
        return 0.0 if np.array_equal(result, expected) else _error_on_groups(case, arrays, result)
    terms = arrays[0].shape[-1] + 2
    bound = 2 * terms * np.finfo(wide).eps * _magnitudes(case, arrays, wide)
    if wide != expected.real.dtype:
        bound = bound + np.finfo(expected.dtype).eps * np.abs(expected.astype(wide))
    return _largest_ratio(np.abs(result.astype(expected.dtype) - expected), bound)


def _largest_ratio(difference: Array, bound: Array) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(difference == 0, 0, difference / bound)
    return float(np.max(np.nan_to_num(ratio, nan=np.inf), initial=0.0))


def _error_on_groups(case: Case, arrays: tuple[Array, ...], result: Array) -> float:
    """The error against the same formula in float64, in units of what is permitted.

    NumPy's own result is not held against it: sums in the dtype of `x` may be further off.

    - y = xhat * weight + bias may be off by 8 eps (|xhat * weight| + |bias| + 1), where the 1 is
      for what the mean of numbers of order 1 is rounded by. So may means, variances and
      logarithms, with a bias of 0.
    - An activation is at most 1.13 times as steep as its argument (gelu), and rounds it once more.
    - With a residual the second half of the result is the sum, which is rounded once.
    - softmax: exp(x - max) inherits the rounding of its argument, so y may be off by
      (8 + |x - max|) eps y.
    - Attention: see `checks_attention`.
    - Gradients: see `checks_gradients`.
    - Masked reductions and their gradients: see `masked_reductions`.
    - Gradients of clusters in float32 are computed in float64; in float64 their terms may be off
      by 8 eps each.
    - float16 is computed in float32 (eps is that of float32) and rounded once, to half a unit
      in the last place.
    """
    # contiguous, so that NumPy sums pairwise along rows, and not one by one down columns; as it
    # does where rows are in clusters, and therefore in long double
    wide = np.longdouble if case.clusters else np.float64
    wide_arrays = tuple(np.ascontiguousarray(array, wide) for array in arrays)
    wide_case = replace(case, dtype="float64")
    exact = _result(wide_case, wide_arrays)
    size = np.abs(exact)
    x = wide_arrays[0]
    if case.op == "softmax":
        allowed = (8 + np.max(x, -1, keepdims=True) - x) * size
    elif masked_reductions.is_masked(case.op):
        first = "cotangent" if case.op.endswith("_vjp") else "x"
        named = dict(zip((first, *case.parameters), wide_arrays, strict=True))
        allowed = masked_reductions.allowed(case.op, named, exact)
    elif case.op in OF_HEADS:
        allowed = checks_attention.allowed(case, wide_arrays)
    elif case.op == "cluster_norm_vjp" and result.dtype == np.float64:
        allowed = 8 * (size + _largest_term(wide_arrays))
    elif case.op.endswith("_vjp") and not case.clusters:
        allowed = checks_gradients.allowed(case, wide_arrays, exact)
    else:
        allowed = _of_affine(wide_case, wide_arrays, exact)
    half = result.dtype == np.float16
    bound = np.finfo(np.float32 if half else result.dtype).eps * allowed
    if half:
        finfo = np.finfo(np.float16)
        bound += float(finfo.eps) / 2 * size + float(finfo.smallest_subnormal) / 2
    return _largest_ratio(np.abs(result.astype(np.float64) - exact), bound)


def _result(case: Case, arrays: tuple[Array, ...]) -> Array:
    out = libraries.output(case, arrays)
    libraries.numpy_call(case, arrays, out)()
    return out


def _of_affine(case: Case, arrays: tuple[Array, ...], exact: Array) -> Array:
    """What xhat * weight + bias may be off by, with what is fused with it, in units of eps."""
    if case.residual:
        plain = replace(case, residual=False)
        of_result = _of_affine(plain, (arrays[0] + arrays[-1], *arrays[1:-1]), exact[0])
        return np.stack((of_result, np.abs(exact[1]) / 2))
    factor, options = 8.0, dict(case.options)
    if options.pop("activation", None):
        factor = 10.0
        exact = _result(replace(case, options=tuple(options.items())), arrays)
    bias = _bias(case, arrays)
    return np.asarray(factor * (np.abs(exact - bias) + np.abs(bias) + 1))


def _largest_term(arrays: tuple[Array, ...]) -> Array:
    """At most what cancels in a gradient: float64 is summed in nothing wider."""
    _, x, _, mean, rstd, weight = (np.max(np.abs(array), initial=0) for array in arrays)
    return np.asarray((x + mean) * rstd * weight)


def _bias(case: Case, arrays: tuple[Array, ...]) -> Array:
    """What is added last, in the shape that it is broadcast from."""
    if "bias" not in PARAMETERS[case.op]:
        return np.zeros(1)
    bias = dict(zip(case.parameters, arrays[1:], strict=True))["bias"]
    if case.op == "layer_norm":
        return bias
    return bias.reshape(-1, *[1] * (arrays[0].ndim - 2))


def _magnitudes(case: Case, arrays: tuple[Array, ...], dtype: np.dtype[np.generic]) -> Array:
    """|A||B|."""
    first, second = (np.abs(array).astype(dtype) for array in arrays)
    if case.op == "vecdot":
        return np.asarray(np.vecdot(first, second))
    return np.asarray(np.matmul(first, second))


def poison(out: Array) -> None:
    """Fill an output with what no result contains, so that an item left out is seen."""
    out[...] = np.nan if out.dtype.kind in "fc" else 77
