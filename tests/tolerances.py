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


_EPS64 = np.longdouble(np.finfo("f8").eps)


def _mean_error(size, n):
    """Error of a mean held in float64: a sum in any order is off by (n - 1) · u · Σ|x|.

    See Higham as above, equation 4.4; eps = 2u leaves room for dividing by n.
    """
    return n * _EPS64 * np.asarray(size, np.longdouble)


def _variance_error(n, shift):
    """Relative error of a sum of squared deviations, for means off by `shift` deviations.

    Pieces of a group, each with a mean of its own, are combined: squared differences of their
    means enter, off by 2 · e times the difference where means are off by e. By Cauchy and
    Schwarz that is of first order, 2 · e deviations, on top of what there is in one piece
    (Chan, Golub and LeVeque, 1983, equation 1.5).
    """
    return (n + 8) * _EPS64 + shift * shift + 2 * shift


def variance_of_one_piece(n, ratio):
    """The same for numbers with one mean, which is `ratio` deviations from 0.

    Each square is off by 3u and their sum by (n - 1) · u. Around a mean that is off by e, the
    sum is too large by n · e², of second order.
    """
    shift = n * _EPS64 * (ratio + 1)
    return (n + 8) * _EPS64 + 2 * shift * shift


def rounding_bound(value, bound, dtype):
    """The bound after a result within `bound` of `value` was rounded to the dtype."""
    finfo = _finfo(np.dtype(dtype))
    half = np.longdouble(finfo.eps) / 2 * (np.abs(value) + bound)
    return bound + half + np.longdouble(finfo.smallest_subnormal) / 2


def normalized_bound(normal):
    """Elementwise bound on the error of ``(x - mean) * rstd * weight + bias``.

    With the statistics as they are, float64 input has six roundings on the way, each of half a
    unit of the product or of the sum with the bias: 4 · eps · (|x̂ w| + |b|) holds them, and the
    rounding of weight and bias to the dtype that is computed in. So it does for float32, and
    for float16 and bfloat16 computed in float32, where the mean is subtracted in two parts: the
    first subtraction is exact or leaves a number at least as large as the second part, and so
    the two have one rounding of the result at most. Their sum is the mean but for 2⁻⁴⁸ of it,
    and for what lies below the smallest subnormal number.

    Statistics in float64 are off as `_mean_error` and `_variance_error` say; rstd by half the
    relative error of the variance, and by the rounding of division and root.
    """
    single = normal.dtype != np.dtype("f8")
    computed = np.finfo("f4" if single else "f8")
    eps, tiny = np.longdouble(computed.eps), np.longdouble(computed.smallest_subnormal)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = _mean_error(normal.size, normal.n)
        shift = mean * normal.rstd
        if single:
            mean = mean + np.longdouble(2.0**-48) * normal.size
            mean = mean + np.where(normal.mean == 0, 0, tiny / 2)
        bound = 4 * eps * (normal.scaled + normal.bias)
        bound = bound + _variance_error(normal.n, shift) * normal.scaled
        bound = bound + mean * normal.rstd * normal.weight + 4 * tiny
        if single and normal.dtype != np.dtype("f4"):
            bound = rounding_bound(normal.value, bound, normal.dtype)
    return bound


def statistics_bounds(normal):
    """Bounds on the errors of the float64 mean and rstd of a group."""
    with np.errstate(invalid="ignore", over="ignore"):
        mean = _mean_error(normal.size, normal.n)
        rstd = (_variance_error(normal.n, mean * normal.rstd) + 4 * _EPS64) * normal.rstd
        return mean + np.longdouble(np.finfo("f8").smallest_subnormal), rstd


def scaled_bound(scaled):
    """Elementwise bound on the error of ``x / max(norm, eps)``.

    The norm, in float64, is a sum of n terms, off by (n + 3) · u of itself. Dividing by it, or
    multiplying by its inverse in the dtype of the result, takes three roundings.
    """
    finfo = np.finfo({"c": f"f{scaled.dtype.itemsize // 2}"}.get(scaled.dtype.kind, "f4"))
    if scaled.dtype == np.dtype("f8"):
        finfo = np.finfo("f8")
    relative = 4 * np.longdouble(finfo.eps) + (scaled.n + 8) * _EPS64
    size = np.abs(scaled.value)
    bound = relative * size + 4 * np.longdouble(finfo.smallest_subnormal)
    return rounding_bound(size, bound, scaled.dtype) if scaled.dtype in HALVES else bound


def moments_bounds(moments):
    """Bounds on the errors of a mean and a variance, each rounded once to its dtype.

    The two parts of a complex mean are off by u · Σ|part| each, the modulus by sqrt(2) times as
    much as a real one, which `_mean_error` has room for.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        mean = _mean_error(moments.size, moments.n)
        deviation = np.sqrt(moments.variance)
        variance = (moments.n + 8) * _EPS64 * moments.variance + mean * mean
        variance = variance + 2 * mean * deviation
        real = np.dtype(moments.dtypes[1])
        return (
            rounding_bound(np.abs(moments.mean), 2 * mean, real),
            rounding_bound(moments.variance, 2 * variance, real),
        )


def _computed(dtype):
    """Machine epsilon and smallest subnormal number of the dtype that softmax computes in."""
    finfo = np.finfo("f8" if dtype == np.dtype("f8") else "f4")
    return np.longdouble(finfo.eps), np.longdouble(finfo.smallest_subnormal)


def _sum_of_exponentials_error(n, dtype):
    """Relative error of Σ exp(x - max), computed in the dtype and added up in float64.

    Rounding x - max, of size d, moves an exponential by eps/2 · d of itself, and `exp` is within
    one unit in the last place, eps. A sum of positive numbers is off by no more than the mean of
    these, weighted by the results p: eps · (1 + Σ p d / 2). The entropy of p is Σ p d + log Σ and
    at most log n, hence Σ p d <= log n. Adding up takes n roundings; bringing pieces to one
    scale three more in each of at most n / 1024 + 1 steps.
    """
    eps, _ = _computed(dtype)
    return eps * (1 + np.log(np.longdouble(max(n, 1))) / 2) + (n + 8) * _EPS64


def softmax_bound(expected):
    """Elementwise bound on the error of softmax (see `softmax_oracles.Exponentials`).

    The exponential is off by eps · (d/2 + 1) of itself as above, the sum as above; the inverse of
    the sum and the product with it are rounded, eps/2 each. What is left of the factor takes in
    terms of second order, eps · d being at most eps · 110 in float32 and eps · 750 in float64
    before the result is 0. Subnormal numbers are off by a unit of them, twice.
    """
    eps, tiny = _computed(expected.dtype)
    with np.errstate(invalid="ignore"):
        relative = eps * (np.minimum(expected.apart, 1000) / 2 + 2)
        relative = relative + _sum_of_exponentials_error(expected.n, expected.dtype)
        bound = 1.01 * relative * expected.value + 3 * tiny
    return _rounded_half(expected, bound)


def log_softmax_bound(expected):
    """Elementwise bound on the absolute error of log_softmax.

    The logarithm turns the relative error of the sum into an absolute one. It is rounded to the
    dtype, eps/2 · log Σ, x - max likewise, eps/2 · d, and their difference, eps/2 · (d + log Σ).
    """
    eps, tiny = _computed(expected.dtype)
    with np.errstate(invalid="ignore"):
        log = np.abs(expected.log)
        bound = eps * (expected.apart + log) + 2 * _EPS64 * log
        bound = 1.01 * (bound + _sum_of_exponentials_error(expected.n, expected.dtype)) + tiny
    return _rounded_half(expected, bound)


def logsumexp_bound(expected):
    """Elementwise bound on the error of logsumexp.

    The error of the logarithm of the sum, which is absolute and does not shrink where it cancels
    with the largest number; both are added in float64 and rounded once.
    """
    eps, tiny = _computed(expected.dtype)
    with np.errstate(invalid="ignore"):
        bound = _EPS64 * (expected.largest + 2 * np.abs(expected.log)) + tiny
        bound = bound + 1.01 * _sum_of_exponentials_error(expected.n, expected.dtype)
        bound = bound + eps / 2 * (np.abs(expected.value) + bound)
    return _rounded_half(expected, bound)


def log_sum_exp_bound(product):
    """Elementwise bound on the error of log Σ exp(x + y) of k terms, added in any order.

    Adding two logarithms rounds the result, which is at most s = max |x + y| + log k, and the
    logarithm and exponential that correct the larger of them, at most log 2: eps/2 · s + 2 · eps
    with room for functions within one unit. The derivatives of a sum by its terms add up to 1,
    so absolute errors of the terms, eps/2 · s of x + y, are passed on but do not grow. Hence
    k · (eps · s / 2 + 2 · eps) for the additions, and the rounding of the terms.
    """
    accumulator = np.dtype("f4") if product.dtype in HALVES else product.dtype
    eps = np.longdouble(np.finfo(accumulator).eps)
    with np.errstate(invalid="ignore"):
        size = product.magnitude + np.log(np.longdouble(product.k + 1))
        bound = (product.k + 1) * eps * (2 + size / 2)
        if product.dtype in HALVES:
            bound = rounding_bound(np.abs(product.value), bound, product.dtype)
    return bound


def _rounded_half(expected, bound):
    return (
        rounding_bound(expected.value, bound, expected.dtype) if expected.dtype in HALVES else bound
    )
