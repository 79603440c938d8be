"""How far off products of one's own making and linear layers may be, by error analysis."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from fastmat.comparisons.cases import Case
from fastmat.comparisons.programs import Array, mask_of, pattern


def bound(case: Case, arrays: tuple[Array, ...], expected: Array) -> Array:
    """By how much two results, each rounded on its own way, may differ.

    With e the machine epsilon, for k terms (the sums as in `checks.error`):

    - smallest and largest of sums of two: not at all
    - other sums of terms: 2 (k + 4) e times the sum of their magnitudes, where a term has at most
      three roundings. What a mask leaves out: not at all.
    - log_sum_exp: adding two logarithms of a size up to s = max|a + b| + log k rounds the result
      and a correction; errors of what is added are passed on, but do not grow: k e (s + 4).
    - layers: an activation is at most 1.13 times as steep as its argument, of which its own error
      is a few roundings. Slopes of it change by less than 0.8 times as much as their argument.
    - gradients, where errors of one sum are terms of the next: 8 sqrt(k + 4) e times the sum of
      magnitudes. If rounding errors are independent, one of 10^6 sums of 10^3 terms is further off
      with a probability below 10^-4. (Higham and Mary, "A new approach to probabilistic rounding
      error analysis", SIAM J. Sci. Comput. 41(5), 2019, with lambda = 8.)
    """
    eps = float(np.finfo(expected.dtype).eps)
    options = dict(case.options)
    if case.op == "linear":
        x, weight, bias = (np.abs(x).astype(np.float64) for x in arrays)
        terms = 2 * (x.shape[1] + 4) * (x @ weight.T + bias)
        steep = 1.13 if "activation" in options else 1.0
        return eps * (steep * terms + 8 * np.abs(expected))
    if case.op.endswith("_vjp"):
        return eps * _of_gradients(case, arrays)
    a, b = (np.abs(x).astype(np.float64) for x in arrays)
    k, name = a.shape[1], str(options.get("semiring", ""))
    if name.endswith(("min_plus", "max_plus")):
        return np.zeros(())
    if name == "log_sum_exp":
        size = a.max(1, keepdims=True) + b.max(0) + math.log(k)
        return np.asarray(k * eps * (size + 4))
    room = 2 * (k + 4) * eps
    if name in ("sqeuclidean", "cityblock"):
        return np.asarray(room * np.abs(expected))
    if name == "plus_min":
        return np.asarray(room * (a.sum(1, keepdims=True) + b.sum(0)))
    size = a @ b
    kept = mask_of(case) if expected.ndim == 2 else None
    if kept is not None:
        return np.asarray(np.where(kept, room * size, 0))
    mask = pattern(case).tocoo()
    return np.asarray(room * size[mask.row, mask.col])


def _probable(terms: int) -> float:
    """How many epsilon of the magnitudes two sums of so many terms may differ by."""
    return 8 * math.sqrt(terms + 4)


def _of_gradients(case: Case, arrays: tuple[Array, ...]) -> Array:
    """In units of epsilon: what slopes are off by is passed on, and sums are rounded."""
    wide = [x.astype(np.float64) for x in arrays]
    size, left, right = (np.abs(x) for x in wide[:3])
    if case.op == "matmul_vjp":
        parts = [(size, right.T), (left.T, size)]
        bounds = [_probable(a.shape[1]) * (a @ b) for a, b in parts]
        return np.concatenate([x.ravel() for x in bounds])
    off = np.zeros(())
    if "activation" in dict(case.options):
        x, weight, bias = wide[1:]
        z = x @ weight.T + bias
        slope = special.ndtr(z) + z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        of_z = _probable(x.shape[1]) * (np.abs(x) @ np.abs(weight.T) + np.abs(bias))
        off = size * (0.8 * of_z + 8 * (1 + np.abs(z)))
        size = size * np.abs(slope)
    by_x = (off + _probable(size.shape[1]) * size) @ right
    terms = off + _probable(size.shape[0]) * size
    return np.concatenate([x.ravel() for x in (by_x, terms.T @ left, terms.sum(0))])
