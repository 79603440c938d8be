"""The gradient of a singular value decomposition to a rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.ops.low_rank import COMPUTED, operand_of
from fastmat.ops.range_finder import without
from fastmat.ops.statistics import number
from fastmat.ops.svd_derivatives import (
    beyond_span,
    damped,
    joined,
    scaled_values,
    with_phase_held,
    within_span,
)

REGULARIZATION = 256.0  # times the square of the machine epsilon


def randomized_svd_vjp(
    cotangent: Any,
    x: Any,
    U: Any,
    S: Any,
    Vh: Any,
    *,
    regularization: float | None = None,
) -> Any:
    """Gradient of `randomized_svd` by x, for distinct singular values.

    Parameters
    ----------
    cotangent
        The gradients by U, S and Vh, in a tuple; None stands for zeros.
    x
        What was decomposed ``(m, n)``, as in `randomized_svd`, or None. Only with `x` is the
        gradient that of a truncated decomposition: without, the matrix counts as one of rank k.
    U, S, Vh
        What `randomized_svd` returned: ``(m, k)``, ``(k,)`` and ``(k, n)``.
    regularization
        Differences d of singular values, relative to the largest, are inverted as
        ``d / (d**2 + regularization)``, and so are singular values. By default 256 times the square
        of the dtype's machine epsilon (3.6e-12 of float32, 1.3e-29 of float64): half as much at
        a difference of 16 epsilon, and 0 at none.

    Returns
    -------
    array ``(m, n)`` of the dtype of `U`

    Raises
    ------
    ValueError
        Shapes that do not fit; a regularization that is negative or not finite.
    TypeError
        Dtypes that U, S and Vh do not share.

    Notes
    -----
    Within the spans of U and V this is [1]_, for complex numbers [2]_. Beyond them a vector's
    derivative depends on what was dropped of `x`, by equations that conjugate gradients solve,
    for all vectors at once: two products with `x` in each of at most 200 steps, less the further
    the values that were dropped are from those that were kept. The result is as exact as U, S and
    Vh are singular triplets of `x`: where it matters, use more power iterations. Without `x` what
    was dropped counts as 0, as in PyTorch's ``svd_lowrank``: this is exact for matrices of rank k,
    and for cotangents of S alone in any case.

    Where values are equal their vectors can be turned, and what the gradient has between them is
    left out; it is right up to a difference of some epsilon, for functions that do not depend on
    such a turn. The phase of complex vectors is that of
    `flip_sign`: the entry of largest magnitude in each column of U keeps its phase, so the
    gradient is right for functions of that phase, too. Gradients by complex numbers are those of
    PyTorch.

    References
    ----------
    .. [1] J. Townsend, "Differentiating the singular value decomposition", 2016: equation 31 and
       its summary.
    .. [2] Z.-Q. Wan and S.-X. Zhang, "Automatic differentiation for complex valued SVD",
       arXiv:1909.02659, 2019.
    .. [3] H.-J. Liao, J.-G. Liu, L. Wang and T. Xiang, "Differentiable programming tensor
       networks", Physical Review X 9, 2019: section III.A for the regularization.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.diag([3.0, 2.0, 1.0])
    >>> U, S, Vh = fm.randomized_svd(x, 1, rng=0)
    >>> fm.randomized_svd_vjp((None, [1.0], None), x, U, S, Vh).round(6) + 0.0
    array([[1., 0., 0.],
           [0., 0., 0.],
           [0., 0., 0.]])
    """
    u, s, vh = (native(as_array(part, name)) for part, name in ((U, "U"), (S, "S"), (Vh, "Vh")))
    _check_factors(u, s, vh)
    if not isinstance(cotangent, tuple | list):
        raise TypeError(
            f"cotangent is of type {type(cotangent).__name__}; it must be a tuple of three parts, "
            "of U, S and Vh"
        )
    if len(cotangent) != 3:
        raise ValueError(f"cotangent has {len(cotangent)} parts; it must be of U, S and Vh")
    names = ("U", "S", "Vh")
    gu, gs, gvh = (
        _cotangent(given, part, name)
        for given, part, name in zip(cotangent, (u, s, vh), names, strict=True)
    )
    operand = None
    if x is not None:
        operand = operand_of(x)
        if tuple(operand.shape) != (u.shape[0], vh.shape[1]):
            raise ValueError(
                f"x has shape {operand.shape}; of these factors it must have "
                f"{(u.shape[0], vh.shape[1])}"
            )
        if not np.can_cast(operand.dtype, u.dtype, "same_kind"):
            raise TypeError(f"x has dtype {operand.dtype}; of these factors it must be {u.dtype}")
    eps = _regularization(regularization, s)
    v, gv = np.ascontiguousarray(vh.conj().T), np.ascontiguousarray(gvh.conj().T)
    ratios, scale = scaled_values(s)
    gu = with_phase_held(gu, gv, u, v)
    middle = within_span(gu, gs, gv, u, ratios, v, scale, eps)
    gu, gv = without(u, gu), without(v, gv)
    if operand is None:
        inverse = damped(ratios, eps)
        p, r = gu * inverse, gv * inverse
    else:
        p, r = beyond_span(operand, gu, gv, u, ratios, v, scale, eps)
    return like(joined(u, middle, p, r, vh, scale), U)


def _check_factors(u: Array, s: Array, vh: Array) -> None:
    if u.dtype.name not in COMPUTED or vh.dtype != u.dtype or s.dtype != u.real.dtype:
        raise TypeError(
            f"U, S and Vh have dtypes {u.dtype}, {s.dtype} and {vh.dtype}; they must be what "
            "randomized_svd returned"
        )
    fit = u.ndim == vh.ndim == 2 and s.ndim == 1 and u.shape[1] == s.size == vh.shape[0] > 0
    if not fit:
        raise ValueError(
            f"U, S and Vh have shapes {u.shape}, {s.shape} and {vh.shape}; they must be (m, k), "
            "(k,) and (k, n)"
        )


def _cotangent(given: Any, part: Array, name: str) -> Array:
    if given is None:
        return np.zeros_like(part)
    found = as_array(given, f"the cotangent of {name}")
    if found.shape != part.shape:
        raise ValueError(
            f"the cotangent of {name} has shape {found.shape}; it must have {part.shape}"
        )
    if not np.can_cast(found.dtype, part.dtype, "same_kind"):
        raise TypeError(
            f"the cotangent of {name} has dtype {found.dtype}; it must be one of {part.dtype}"
        )
    return found.astype(part.dtype)


def _regularization(given: float | None, s: Array) -> Any:
    if given is None:
        return s.dtype.type(REGULARIZATION * float(np.finfo(s.dtype).eps) ** 2)
    value = number(given, "regularization")
    if not 0 <= value < math.inf:
        raise ValueError(f"regularization is {given}; it must be at least 0 and finite")
    return s.dtype.type(value)
