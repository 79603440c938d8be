"""The derivative of a truncated singular value decomposition, in Python and in compiled code.

With U, S, V the first k triplets of A, and A' = (1 - UUᴴ) A (1 - VVᴴ) what is beyond them,
``dA v + A dv = ds u + s du`` and its adjoint say for each triplet that

- within the spans, dU and dV are those of Townsend, "Differentiating the singular value
  decomposition", 2016, and for complex numbers those of Wan and Zhang, "Automatic differentiation
  for complex valued SVD", arXiv:1909.02659. Their 1 / (s_j² - s_i²) is parted into fractions of
  s_j - s_i and s_j + s_i, the latter of which needs no care;
- beyond them, s du - A' dv and s dv - A'ᴴ du are what dA v and dAᴴ u have there. The adjoint of
  these equations has the same matrix, which is positive definite where s > ||A'||; du is
  eliminated, and conjugate gradients solve ``(s² - A'A'ᴴ) p = s gu + A' gv`` for all triplets at
  once.

Numbers are relative to the largest singular value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.ops.range_finder import times, times_adjoint, without
from fastmat.ops.statistics import entry_of

STEPS = 200  # of conjugate gradients, at the most
ENOUGH = 4.0  # of what is left of the equations, relative to them: this times eps


def damped(d: Array, regularization: Any) -> Array:
    """``1 / d``, 0 where d is."""
    below = d * d + regularization
    found: Array = d / np.where(below > 0, below, below.dtype.type(1))
    return found


def column_dots(x: Array, y: Array) -> Array:
    """The real part of the scalar product of each column with one of another matrix."""
    found = np.empty(x.shape[1])
    entry_of("randomized_svd_vjp", "column_dots", x.dtype)(x, y, found)
    return found


def with_phase_held(gu: Array, gv: Array, u: Array, v: Array) -> Array:
    """The cotangent of U, less what turning u and v together would change.

    The phase of the largest entry of u is held, as by `flip_sign`. Real vectors have no phase.
    """
    if u.dtype.kind != "c":
        return gu
    return phase_held(gu, gv, u, v)


def phase_held(gu: Array, gv: Array, u: Array, v: Array) -> Array:
    """As `with_phase_held`, of complex numbers."""
    turned = np.diag(times_adjoint(u, gu)) + np.diag(times_adjoint(v, gv))
    found, half = gu.copy(), u.dtype.type(0.5)
    for c in range(u.shape[1]):
        row = np.argmax(np.abs(u[:, c]))
        entry = u[row, c]
        found[row, c] -= half * (turned[c] - np.conj(turned[c])) / np.conj(entry)
    return found


def within_span(
    gu: Array, gs: Array, gv: Array, u: Array, ratios: Array, v: Array, scale: Any, eps: Any
) -> Array:
    """The cotangent of ``adjoint(U) @ A @ V``."""
    a, b = times_adjoint(u, gu), times_adjoint(v, gv)
    a, b = a - np.conj(a.T), b - np.conj(b.T)
    k, half = ratios.size, ratios.dtype.type(0.5)
    rows, columns = ratios.reshape(k, 1), ratios.reshape(1, k)
    apart, together = damped(columns - rows, eps) * half, damped(columns + rows, eps) * half
    found: Array = ((a + b) * apart + (a - b) * together) * scale
    quarters = damped(ratios, eps) * ratios.dtype.type(0.25) * scale
    for i in range(k):
        found[i, i] = gs[i] + (a[i, i] - b[i, i]) * quarters[i]
    return found


def beyond_span(
    x: Any, gu: Array, gv: Array, u: Array, ratios: Array, v: Array, scale: Any, eps: Any
) -> tuple[Array, Array]:
    """The solutions p and r for what cotangents have beyond the spans of U and V."""
    squares = ratios * ratios
    rest = gu * ratios + without(u, times(x, gv)) * scale
    direction, p = rest.copy(), np.zeros_like(rest)
    left = column_dots(rest, rest)
    enough = (ENOUGH * float(np.finfo(ratios.dtype).eps)) ** 2 * left
    for _ in range(STEPS):
        if not np.any(left > enough):
            break
        seen = without(v, times_adjoint(x, direction)) * scale
        image = direction * squares - without(u, times(x, seen)) * scale
        curvature = column_dots(direction, image)
        flat = np.sqrt(eps) * column_dots(direction, direction)
        going = (left > enough) & (curvature > flat)
        step = np.where(going, left / np.where(going, curvature, 1.0), 0.0).astype(ratios.dtype)
        p = p + direction * step
        rest = rest - image * step
        now = column_dots(rest, rest)
        more = np.where(going, now / np.where(going, left, 1.0), 0.0).astype(ratios.dtype)
        direction = rest + direction * more
        left = np.where(going, now, 0.0)
    r = (gv + without(v, times_adjoint(x, p)) * scale) * damped(ratios, eps)
    return p, r


def scaled_values(s: Array) -> tuple[Array, Any]:
    """Singular values relative to the largest, and 1 over that; 1 where all are 0."""
    top = s[0]
    if top == 0:
        top = s.dtype.type(1)
    return s / top, s.dtype.type(1) / top


def joined(u: Array, middle: Array, p: Array, r: Array, vh: Array, scale: Any) -> Array:
    """``u @ middle @ vh + (p @ vh + u @ adjoint(r)) * scale``, by one product."""
    left = np.concatenate((times(u, middle) + p * scale, u), axis=1)
    return times(left, np.concatenate((vh, np.conj(r.T) * scale), axis=0))
