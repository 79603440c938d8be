"""How far a gradient may be from the exact one: bounds from error analysis, never fitted.

u = eps / 2 is the unit round-off of the dtype that is computed in: float64 for float64, float32
for all that is narrower. Sums are held in float64: n terms are off by n · eps64 · Σ|terms| at most
(see `tolerances`). The statistics and results handed over are taken as they are.
"""

import numpy as np
from gradient_oracles import lengths
from oracles import HALVES
from tolerances import rounding_bound

_EPS64 = np.longdouble(np.finfo("f8").eps)
_QUIET = {"invalid": "ignore", "over": "ignore", "under": "ignore", "divide": "ignore"}


def _computed(dtype):
    """eps and smallest subnormal number of what this dtype is computed in."""
    kind = f"f{dtype.itemsize // 2}" if dtype.kind == "c" else dtype
    finfo = np.finfo("f8" if kind in ("f8", np.dtype("f8")) else "f4")
    return np.longdouble(finfo.eps), np.longdouble(finfo.smallest_subnormal)


def _rounded(value, bound, dtype):
    return rounding_bound(value, bound, dtype) if dtype in HALVES else bound


def _mean(x, axes):
    return np.sum(x, axis=axes, keepdims=True) / max(lengths(x.shape, axes), 1)


def normal_bounds(expected):
    """Elementwise bounds on the errors of the gradients of x, weight and bias.

    h = g · w is off by 2u of itself, weight and product being rounded. x - mean is taken off in
    two parts where it is computed in float32: it is off by 2u of itself and by 2⁻⁴⁸ of the mean
    (see `tolerances.normalized_bound`); rstd and the product with it add 2u, so that x̂ is off by
    4u |x̂| + shift. The mean of h is rounded once more: 3u. So is that of h · x̂, of which each
    term has 2u + 4u + u: 8u. Its product with x̂ has 4u + 8u + u = 13u. Two subtractions add 2u to
    all three terms, rstd and the product with it another 2u: 17u, and 9 · eps holds that and what
    is of second order. The shift of x̂ moves the mean of h · x̂ by shift · mean|h| at most.

    Each term of the gradient of the weight is off by u · 5 |g x̂| and shift · |g|; the sums, in
    float64, are rounded once to the dtype of the weight.
    """
    eps, tiny = _computed(expected.dtype)
    with np.errstate(**_QUIET):
        shift = tiny + np.zeros_like(expected.mean)
        if expected.dtype != np.dtype("f8"):
            low = np.longdouble(2.0**-48) * expected.mean + tiny / 2
            shift = shift + np.where(expected.mean == 0, 0, low * expected.rstd)
        h, normal = expected.scaled, expected.normal
        terms, moved, sums = h, 3 * tiny, 0
        if expected.axes is not None:
            mean, product = _mean(h, expected.axes), _mean(h * normal, expected.axes)
            terms = h + mean + normal * product
            moved = moved + shift * (product + normal * mean) + 2 * tiny * normal
            sums = lengths(h.shape, expected.axes) * _EPS64 * (mean + normal * product)
        bound = expected.rstd * (9 * eps * terms + moved + sums) + 2 * tiny
        bound = np.broadcast_to(bound, h.shape).reshape(expected.shape)
        bound = _rounded(expected.x, bound, expected.dtype)
        if expected.weight is None:
            return bound, None, None
        g, m = expected.g, lengths(expected.g.shape, expected.rest)
        relative = 3 * eps + (m + 2) * _EPS64
        weight = np.sum(g * normal * relative + g * shift + tiny, axis=expected.rest)
        bias = np.sum(g, axis=expected.rest) * (m + 2) * _EPS64
        parts = (expected.weight, weight), (expected.bias, bias)
        return bound, *(
            rounding_bound(part, error.reshape(part.shape), expected.weight_dtype)
            for part, error in parts
        )


def scaled_bound(expected):
    """Elementwise bound on the error of the gradient of `normalize`.

    The norm, a sum in float64, is off by (n + 8) · eps64 of itself, and is divided by three
    times. Beside that the inverse of the norm and y = x / norm are off by 3u; a term of Σ g y by
    4u, for complex numbers by 3 · eps (Higham, lemma 3.5); the sum, rounded, by 5u or 7u; dN/dx
    by 3u and its product with the sum by 11u; the subtraction adds u, the inverse norm and the
    product with it 4u: 16u, held by 9 · eps.
    """
    eps, tiny = _computed(expected.dtype)
    with np.errstate(**_QUIET):
        through_norm = expected.slope * expected.total
        terms = expected.g + np.where(expected.slope == 0, 0, through_norm)
        relative = 9 * eps + 5 * (expected.n + 8) * _EPS64
        lost = expected.total + expected.slope * (expected.n + expected.total + expected.mass)
        lost = 2 + np.where(expected.slope == 0, 0, lost)
        bound = (relative * terms + tiny * lost) / expected.size + 2 * tiny
        return _rounded(np.abs(expected.x), bound, expected.dtype)


def softmax_bound(expected):
    """Elementwise bound on the error of y (g - Σ g y).

    The terms of the sum are off by u each, the sum by 2u after it is rounded; the difference adds
    u to both, its product with y another: y (2u |g| + 4u Σ|g y|), held by 2 · eps.
    """
    eps, tiny = _computed(expected.dtype)
    with np.errstate(**_QUIET):
        relative = 2 * eps * (expected.g + expected.total)
        relative = 1.01 * (relative + (expected.n + 2) * _EPS64 * expected.total)
        bound = expected.factor * (relative + expected.n * tiny) + 2 * tiny
        return _rounded(expected.x, bound, expected.dtype)


def log_softmax_bound(expected):
    """Elementwise bound on the error of g - exp(y) Σg.

    The exponential is within a unit in the last place, eps; the sum is rounded, and so are its
    product and the difference: eps/2 · |g| + 5/2 · eps · exp(y) Σ|g|.
    """
    eps, tiny = _computed(expected.dtype)
    with np.errstate(**_QUIET):
        relative = 5 / 2 * eps + (expected.n + 2) * _EPS64
        bound = eps / 2 * expected.g + relative * expected.factor * expected.total
        bound = 1.01 * bound + tiny * (2 + 2 * expected.total)
        return _rounded(expected.x, bound, expected.dtype)


def logsumexp_bound(expected):
    """Elementwise bound on the error of g · exp(x - result).

    The difference d is rounded, which moves the exponential by eps/2 · |d| of itself; `exp` is
    within eps, and the product is rounded. No exponential of more than 1000 is above 0.
    """
    eps, tiny = _computed(expected.dtype)
    with np.errstate(**_QUIET):
        relative = eps * (np.minimum(expected.apart, 1000) / 2 + 3 / 2)
        bound = 1.01 * relative * np.abs(expected.x) + tiny * (2 + 2 * expected.g)
        return _rounded(expected.x, bound, expected.dtype)
