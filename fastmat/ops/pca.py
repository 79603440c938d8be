"""Principal component analysis without a centred copy of the matrix."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, like
from fastmat.core.devices import also_on_gpu
from fastmat.ops.approximations import ErrorEstimate
from fastmat.ops.centred import (
    Centred,
    centred,
    column_moments,
    operator_mean,
    sparse_moments,
    variances,
)
from fastmat.ops.decompositions import of_rank, relative_errors, within
from fastmat.ops.draws import key_of
from fastmat.ops.low_rank import (
    iterations,
    normalizer_of,
    operand_of,
    tolerance,
    whole_number,
)
from fastmat.ops.randomized_svd import Plan
from fastmat.ops.range_finder import COUNT
from fastmat.ops.sparse import is_sparse
from fastmat.ops.statistics import entry_of


class Components(NamedTuple):
    """Principal components, and where the rows lie along them."""

    components: Any
    explained_variance: Any
    explained_variance_ratio: Any
    singular_values: Any
    mean: Any
    scores: Any


class PCA(Components):
    """What `pca` returns: components, and how they were found.

    Attributes
    ----------
    error : ErrorEstimate
    n_iter : int
    n_passes : int
    rank : int
    """

    error: ErrorEstimate
    n_iter: int
    n_passes: int

    def __new__(cls, *parts: Any, error: Any = None, n_iter: int = 0, n_passes: int = 0) -> PCA:
        """Six parts of a tuple, and what goes with them."""
        found = super().__new__(cls, *parts)
        found.error, found.n_iter, found.n_passes = error, n_iter, n_passes
        return found

    @property
    def rank(self) -> int:
        """How many components there are."""
        return int(self.components.shape[0])

    def __reduce__(self) -> Any:
        """Pickle all of it, not the tuple alone."""
        return _again, (tuple(self), self.error, self.n_iter, self.n_passes)


def _again(parts: tuple[Any, ...], error: Any, n_iter: int, n_passes: int) -> PCA:
    return PCA(*parts, error=error, n_iter=n_iter, n_passes=n_passes)


@also_on_gpu
def pca(
    x: Any,
    n_components: int | None = None,
    *,
    center: bool = True,
    tol: float | None = None,
    n_oversamples: int = 10,
    n_iter: int | str = "auto",
    power_iteration_normalizer: str = "auto",
    flip_sign: bool = True,
    norm: str = "fro",
    rng: Any = None,
) -> PCA:
    """The principal components of the rows of a matrix, which is not copied to be centred.

    Parameters
    ----------
    x
        Array-like ``(m, n)`` of m samples, at least 2, a SciPy sparse array or a
        ``LinearOperator``. Integers and bool count as float64, float16 and bfloat16 as float32.
    n_components
        How many; with `tol`, how many at the most. At least 1 and at most ``min(m, n)``.
    center
        Whether to take the mean of each column off. Without, the components are those of the
        second moments about 0.
    tol
        Stop at the least number of components that leave at most `tol` times the norm of the
        centred matrix, as in `randomized_svd`: in the Frobenius norm, at most the share ``tol**2``
        of the variance.
    n_oversamples, n_iter, power_iteration_normalizer, norm, rng
        As in `randomized_svd`.
    flip_sign
        Make the entry of largest magnitude of each component real and positive, as
        ``sklearn.decomposition.PCA`` does.

    Returns
    -------
    PCA
        A named tuple in scikit-learn's terms, with rows as samples:

        - `components` ``(k, n)``: orthonormal rows, such that `x` is about
          ``mean + scores @ components``;
        - `explained_variance` ``(k,)``: of `scores`, with m - 1 in the denominator;
        - `explained_variance_ratio` ``(k,)``: as a share of the sum of all variances; 0 where
          that is 0;
        - `singular_values` ``(k,)``: of the centred matrix;
        - `mean` ``(n,)``: of the columns; 0 without `center`;
        - `scores` ``(m, k)``: the left singular vectors times the singular values, which
          scikit-learn's ``fit_transform`` returns.

        It has the attributes `error` (bounds for what the components leave of the centred matrix,
        relative to it, as in `randomized_svd`), `n_iter`, `n_passes` and `rank`.

    Raises
    ------
    ValueError
        Neither `n_components` nor `tol`; numbers out of range; a single row; NaN or infinity in
        `x`.
    TypeError
        Dtypes that are not numbers, arguments of other types.

    Notes
    -----
    The products with the centred matrix are those of [1]_ and [2]_: with P, which takes the mean
    off a column, ``P (x q)`` and ``xᴴ (P y)``, so that a sparse matrix stays sparse. Their rounding
    errors are relative to `x`. Where the means of a dense matrix are more than 4 times its
    deviations, each row has the means subtracted first, in a block that stays in the cache: there,
    errors are relative to the deviations, whatever the means are. Sparse matrices and operators
    with such means lose as many digits as the means are larger. Variances are summed in float64.

    A ``LinearOperator`` does not tell its norm. There the shares are of an estimate: the squares of
    the singular values found and what 16 random vectors see of the rest, which has no bias [3]_.

    Variances of numbers of float32 beyond 1e19 overflow; shares and singular values do not. Of
    float64, shares are 0 where squares overflow or underflow: beyond 1e150, below 1e-150.

    References
    ----------
    .. [1] N. Halko, P. G. Martinsson, Y. Shkolnisky and M. Tygert, "An algorithm for the principal
       component analysis of large data sets", SIAM J. Sci. Comput. 33(5), 2011: section 4.3.
    .. [2] N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness",
       SIAM Review 53(2), 2011: algorithms 4.4 and 5.1.
    .. [3] R. A. Meyer, C. Musco, C. Musco and D. P. Woodruff, "Hutch++: Optimal stochastic trace
       estimation", SOSA 2021: algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[1.0, 2.0], [4.0, 6.0], [7.0, 10.0]])
    >>> found = fm.pca(x, 1, rng=0)
    >>> found.mean, found.components.round(6)
    (array([4., 6.]), array([[0.6, 0.8]]))
    >>> found.explained_variance.round(6), found.explained_variance_ratio.round(6)
    (array([25.]), array([1.]))
    """
    a = operand_of(x)
    plan = planned(
        a.shape, n_components, tol, n_oversamples, n_iter, power_iteration_normalizer, flip_sign,
        norm, rng,
    )  # fmt: skip
    m, count = a.shape[0], plan.n_iter
    settings = count, plan.normalizer, plan.seed
    with np.errstate(over="ignore", invalid="ignore"):  # products tell of what is not finite
        matrix, mean, total = _operand(a, x, bool(center))
    if plan.tol is None:
        u, s, vh, rest, passes = of_rank(matrix, plan.components, plan.size, *settings)
    else:
        u, s, vh, rest, passes = within(matrix, plan.components, plan.tol, plan.spectral, *settings)
    kept = u.shape[1]
    if total is None:
        seen = np.linalg.norm(rest.astype(np.complex128)) / math.sqrt(COUNT)
        total = float(np.sum(s.astype(np.float64) ** 2) + seen**2)
    left, right = np.ascontiguousarray(u), np.ascontiguousarray(vh)
    if plan.flip:
        entry_of("randomized_svd", "flip_signs", left.dtype)(right.T, left.T)
    values = s[:kept].copy()
    error = ErrorEstimate(*map(float, relative_errors(s, kept, rest)))
    parts: list[Array] = [right, *variances(values, total, m), values, mean, left * values]
    with np.errstate(over="ignore"):
        parts[1:3] = (part.astype(values.dtype) for part in parts[1:3])
    made = parts if isinstance(x, np.ndarray) or not isinstance(a, np.ndarray) else _as(parts, x)
    return PCA(*made, error=error, n_iter=count, n_passes=1 + passes)


def planned(
    shape: tuple[int, ...],
    n_components: Any,
    tol: Any,
    n_oversamples: Any,
    n_iter: Any,
    normalizer: Any,
    flip_sign: Any,
    norm: Any,
    rng: Any,
) -> Plan:
    """The arguments of `pca`, checked."""
    if len(shape) != 2:
        raise ValueError(f"x has shape {shape}; it must be a single matrix")
    m, n = shape
    if m < 2 or n < 1:
        raise ValueError(f"x has shape {shape}; variances need 2 rows or more, and a column")
    if n_components is None and tol is None:
        raise ValueError("neither n_components nor tol was given; give one of them, or both")
    most = min(m, n)
    if n_components is not None:
        most = whole_number(n_components, "n_components", 1, min(m, n))
    if norm not in ("fro", "spectral"):
        raise ValueError(f"norm is {norm!r}; it must be 'fro' or 'spectral'")
    limit = None if tol is None else tolerance(tol)
    size = min(most + whole_number(n_oversamples, "n_oversamples", 0), m, n)
    count = iterations(n_iter, None if n_components is None else most, min(m, n))
    return Plan(
        most, size, limit, norm == "spectral", count, normalizer_of(normalizer), False,
        bool(flip_sign), key_of(rng, 0)[0],
    )  # fmt: skip


def _as(parts: list[Array], x: Any) -> list[Any]:
    return [like(part, x) for part in parts]


def _operand(a: Any, x: Any, center: bool) -> tuple[Any, Array, float | None]:
    """What is multiplied with, the mean to return, and the sum of squares of what is left.

    An operator does not tell its sum.
    """
    if not isinstance(a, np.ndarray) and not is_sparse(x):
        mean = operator_mean(a)
        if not center:
            return a, np.zeros_like(mean), None
        return Centred(a, mean[:0], a.shape, np.dtype(a.dtype)), mean, None
    mean, sums = column_moments(a) if isinstance(a, np.ndarray) else sparse_moments(x)
    kept = mean.astype(a.dtype)
    if not center:
        return a, np.zeros_like(kept), float(np.sum(sums))
    if isinstance(a, np.ndarray):
        return centred(a, mean, sums), kept, float(sums[0])
    return Centred(a, kept[:0], a.shape, np.dtype(a.dtype)), kept, float(sums[0])
