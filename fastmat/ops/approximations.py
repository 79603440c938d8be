"""What randomized factorizations return: tuples that carry a bound for their error."""

from __future__ import annotations

from typing import Any, NamedTuple


class ErrorEstimate(NamedTuple):
    """Upper bounds for a relative error: in the Frobenius norm, and in the spectral norm."""

    frobenius: Any
    spectral: Any


class Factors(NamedTuple):
    """The factors of a singular value decomposition, ``x ≈ (U * S) @ Vh``."""

    U: Any
    S: Any
    Vh: Any


class RandomizedSVD(Factors):
    """What `randomized_svd` returns: three factors, and how they were found.

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

    def __new__(
        cls, U: Any, S: Any, Vh: Any, error: Any = None, n_iter: int = 0, n_passes: int = 0
    ) -> RandomizedSVD:
        """Three numbers of a tuple, and what goes with them."""
        found = super().__new__(cls, U, S, Vh)
        found.error, found.n_iter, found.n_passes = error, n_iter, n_passes
        return found

    @property
    def rank(self) -> int:
        """How many singular values there are."""
        return int(self.S.shape[-1])

    def __reduce__(self) -> Any:
        """Pickle all of it, not the tuple alone."""
        return type(self), (*self, self.error, self.n_iter, self.n_passes)


class LowRankFactors(NamedTuple):
    """Two factors, whose product ``left @ right`` approximates a matrix."""

    left: Any
    right: Any


class LowRank(LowRankFactors):
    """What `low_rank_approximation` returns: two factors, and how they were found.

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

    def __new__(
        cls, left: Any, right: Any, error: Any = None, n_iter: int = 0, n_passes: int = 0
    ) -> LowRank:
        """Two factors of a tuple, and what goes with them."""
        found = super().__new__(cls, left, right)
        found.error, found.n_iter, found.n_passes = error, n_iter, n_passes
        return found

    @property
    def rank(self) -> int:
        """How many columns `left` has."""
        return int(self.left.shape[-1])

    def __matmul__(self, other: Any) -> Any:
        """The approximation times a vector or matrix, without multiplying it out."""
        return self.left @ (self.right @ other)

    def __reduce__(self) -> Any:
        """Pickle all of it, not the tuple alone."""
        return type(self), (*self, self.error, self.n_iter, self.n_passes)


class Eigenpairs(NamedTuple):
    """Eigenvalues, and eigenvectors in columns."""

    eigenvalues: Any
    eigenvectors: Any
