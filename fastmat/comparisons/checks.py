"""Whether a result is right, by error analysis."""

from __future__ import annotations

import numpy as np

from fastmat.comparisons.cases import Case
from fastmat.comparisons.inputs import Array


def error(case: Case, arrays: tuple[Array, ...], result: Array, expected: Array) -> float:
    """The largest error, in units of what rounding permits: above 1 the result is wrong.

    Two sums of k products of floats, each rounded in any order, differ by at most
    2 k u |A||B| to first order (u: half the machine epsilon; Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd ed., eq. 3.5). A complex product counts as two more terms and a
    factor of sqrt(2) (ibid., lemma 3.5). float16 is summed in float32 and rounded once.
    Everything else has to agree to the last bit.
    """
    if result.shape != expected.shape or result.dtype != expected.dtype:
        return float("inf")
    if expected.dtype.kind not in "fc" or "transpose" in case.op:
        return 0.0 if np.array_equal(result, expected) else float("inf")
    wide = np.dtype(np.float32) if expected.dtype == np.float16 else expected.real.dtype
    terms = arrays[0].shape[-1] + 2
    bound = 2 * terms * np.finfo(wide).eps * _magnitudes(case, arrays, wide)
    if wide != expected.real.dtype:
        bound = bound + np.finfo(expected.dtype).eps * np.abs(expected.astype(wide))
    difference = np.abs(result.astype(expected.dtype) - expected)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(difference == 0, 0, difference / bound)
    return float(np.max(np.nan_to_num(ratio, nan=np.inf), initial=0.0))


def _magnitudes(case: Case, arrays: tuple[Array, ...], dtype: np.dtype[np.generic]) -> Array:
    """|A||B|."""
    first, second = (np.abs(array).astype(dtype) for array in arrays)
    if case.op == "vecdot":
        return np.asarray(np.vecdot(first, second))
    return np.asarray(np.matmul(first, second))


def poison(out: Array) -> None:
    """Fill an output with what no result contains, so that an item left out is seen."""
    out[...] = np.nan if out.dtype.kind in "fc" else 77
