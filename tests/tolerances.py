"""How far a kernel may be from the exact result: bounds from error analysis, never fitted.

Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section 3.1 and 3.6: a dot
product of length k, summed in any order, fused or not, is off by at most

    k u / (1 - k u) · |x|ᵀ|y|        with the unit round-off u = eps / 2.

fastmat promises 2 · k · eps · |A||B|, four times that. The room holds for every k u < 3/4 and
takes in the rounding of the oracle itself where long double is no wider than double.
"""

import ml_dtypes
import numpy as np
from oracles import BFLOAT16, HALVES


def _finfo(dtype):
    return ml_dtypes.finfo(dtype) if dtype == BFLOAT16 else np.finfo(dtype)


def product_bound(product):
    """Elementwise bound on the modulus of the error of a product (see `oracles.Product`).

    Complex products keep the same factor. The real part of the sum is a real dot product of
    length 2k, of the terms a·c and -b·d, and so is off by at most 2k · eps/2 · Σ(|ac| + |bd|),
    where |ac| + |bd| <= |x||y| by Cauchy and Schwarz. That is k · eps · |A||B| for each part and
    sqrt(2) · k · eps · |A||B| for the modulus, within 2 · k · eps · |A||B|.

    float16 and bfloat16 are summed in float32 and rounded once at the end: half a unit in the
    last place of the sum, which may itself be off.

    Results near the underflow threshold have an absolute error on top: each of the k products
    (4k for complex) may lose half of the smallest subnormal number of the accumulator, and
    the last rounding half of that of the result.
    """
    dtype = product.dtype
    if dtype.kind in "biu":
        return np.zeros(product.magnitude.shape)
    accumulator = _finfo(np.dtype("f4") if dtype in HALVES else dtype)
    eps = np.longdouble(accumulator.eps)
    relative = 2 * product.k * eps * np.asarray(product.magnitude, np.longdouble)
    bound = relative + 4 * product.k * np.longdouble(accumulator.smallest_subnormal)
    if dtype in HALVES:
        finfo = _finfo(dtype)
        sum_ = np.abs(np.asarray(product.value, np.longdouble)) + bound
        bound = bound + np.longdouble(finfo.eps) / 2 * sum_
        bound = bound + np.longdouble(finfo.smallest_subnormal) / 2
    return bound
