"""A sketch of a matrix from one pass over its rows, to be merged with those of other rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.ops.aligned_rows import AlignedRows, Block, height_of, piece_of
from fastmat.ops.approximations import ErrorEstimate, RandomizedSVD
from fastmat.ops.draws import FLOATING, dtype_of, key_of
from fastmat.ops.low_rank import whole_number
from fastmat.ops.matmul import matmul
from fastmat.ops.progress import Progress, checked
from fastmat.ops.random import standard_normal
from fastmat.ops.range_finder import COUNT, PROBES, SKETCH
from fastmat.ops.row_blocks import RowBlocks
from fastmat.ops.single_pass import accumulate, decomposed, wide_of
from fastmat.ops.statistics import entry_of


class LowRankSketch:
    """The largest singular values of a matrix whose rows pass by once.

    Rows are given to `update` as they come. What is kept of each is its product with a few random
    vectors. Sketches of other rows of the same matrix, made anywhere, can be merged.

    Parameters
    ----------
    n_columns
        The length of a row.
    size
        How many random vectors there are, at most `n_columns`: as many singular values can be asked
        for, but the last ones are poor. Twice what is wanted, or 10 more, is a good choice.
    dtype
        float32, float64, complex64 or complex128: what rows are converted to.
    first_row
        The number that the first row has in the matrix.
    rng
        As in `randomized_svd`. Sketches that are to be merged have to be of one seed: an integer,
        or the `seed` of another sketch.

    Attributes
    ----------
    n_columns, size, seed : int
    dtype : numpy.dtype
    rows : list of tuple
        The ranges of rows, first and behind the last, that were seen; one, if there is no gap.
    n_rows : int
        How many there were.

    Raises
    ------
    ValueError
        Numbers out of range.
    TypeError
        Other dtypes; numbers that are not integers.

    Notes
    -----
    With normal numbers Ω, Y = A Ω is kept by rows, and H = Aᴴ Y, the sum over blocks of rows, in
    float64. An orthonormal basis Q of the columns of Y gives Qᴴ A = R⁻ᴴ Hᴴ, where Y = Q R [1]_: the
    factors are those of Q Qᴴ A, as of `randomized_svd` without iterations, and the error is what
    theorem 10.5 of [2]_ says of them. What is lost is what lies below about 3e-8 of the largest
    singular value, since R is divided by: a floor under the error in float64.

    Rows are put together to blocks as in `RowBlocks`: neither the pieces that they come in nor the
    number of threads change a bit of the result. Merging p sketches in another
    order changes H by at most ``(p - 1) * eps`` times the sum of its magnitudes in all of them, eps
    that of float64, and Y by nothing.

    A sketch has ``n_rows * (size + 16)`` numbers, ``n_columns * size`` in double precision, and a
    block of about 4 MiB, four times that while rows are taken. It can be pickled, also while a
    block is not full. In compiled code there is no such class.

    References
    ----------
    .. [1] W. Yu, Y. Gu, J. Li, S. Liu and Y. Li, "Single-pass PCA of large high-dimensional data",
       IJCAI 2017.
    .. [2] N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness", SIAM
       Review 53(2), 2011: algorithm 5.1, theorem 10.5.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.outer(np.arange(1.0, 9.0), [3.0, 0.0, 4.0])
    >>> top = fm.LowRankSketch(3, 2, rng=0).update(x[:2]).update(x[2:5])
    >>> bottom = fm.LowRankSketch(3, 2, rng=0, first_row=5).update(x[5:])
    >>> top.merge(bottom)
    LowRankSketch(3, 2, dtype=float64) of rows 0 to 7
    >>> found = top.svd(1)
    >>> np.allclose(found.S, np.linalg.norm(x)), found.U.shape, found.n_passes
    (True, (8, 1), 1)
    """

    def __init__(
        self,
        n_columns: int,
        size: int,
        *,
        dtype: Any = np.float64,
        first_row: int = 0,
        rng: Any = None,
    ) -> None:
        self.n_columns = whole_number(n_columns, "n_columns", 1)
        self.size = whole_number(size, "size", 1, self.n_columns)
        self.dtype = dtype_of(dtype, None, "float64", FLOATING)
        self.seed = key_of(rng, 0)[0]
        self._waiting = self._aligned(whole_number(first_row, "first_row", 0))
        self._products: list[Block] = []
        self._h = np.zeros((self.n_columns, self.size), wide_of(self.dtype))
        self._random: Array | None = None

    def _aligned(self, first: int) -> AlignedRows:
        height = height_of(self.n_columns, self.dtype)
        return AlignedRows(self.n_columns, self.dtype, height, first, reuse=False)

    @property
    def rows(self) -> list[tuple[int, int]]:
        """The ranges of rows that were seen."""
        found: list[tuple[int, int]] = []
        ranges = [(start, start + len(y)) for start, y in self._products]
        if self._waiting.filled:
            ranges.append((self._waiting.row - self._waiting.filled, self._waiting.row))
        for start, stop in sorted(ranges):
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, stop))
        return found

    @property
    def n_rows(self) -> int:
        """How many rows there were."""
        return sum(stop - start for start, stop in self.rows)

    def __repr__(self) -> str:
        seen = ", ".join(f"{start} to {stop - 1}" for start, stop in self.rows)
        return f"{type(self).__name__}({self.n_columns}, {self.size}, dtype={self.dtype}) of " + (
            f"rows {seen}" if seen else "no rows"
        )

    def update(self, rows: Any, *, progress: bool | str = False) -> LowRankSketch:
        """Take the next rows of the matrix.

        Parameters
        ----------
        rows
            An array of rows, ``(any, n_columns)``, a `RowBlocks`, or an iterator of arrays.
        progress
            Whether to show a bar on standard error, where that is a terminal; "force": anywhere.

        Returns
        -------
        LowRankSketch
            The sketch itself.

        Raises
        ------
        ValueError
            Rows of another length, NaN or infinity. The sketch is then as it was before.
        TypeError
            Rows that cannot be converted to the dtype of the sketch, likewise.
        """
        before = self._waiting.row, self._waiting.filled, self._waiting.buffer
        count, h = len(self._products), self._h
        shown, total = checked(progress), None
        if isinstance(rows, RowBlocks):
            if rows.shape[1] != self.n_columns:
                raise ValueError(f"rows has {rows.shape[1]} columns; it must have {self.n_columns}")
            given: Iterable[Any] = rows.pieces()
            shown, total = shown or rows.progress, rows.shape[0]
        else:
            given = rows if hasattr(rows, "__next__") else (rows,)
        try:
            with Progress(shown, "rows", total) as bar:
                for part in given:
                    self._take(piece_of(part, self.n_columns, self.dtype, "rows"), h, bar)
            if self._h is not h:
                check_squares(self._h)
        except BaseException:
            self._waiting.row, self._waiting.filled, self._waiting.buffer = before
            del self._products[count:]
            self._h = h
            raise
        return self

    def _take(self, piece: Array, before: Array, bar: Progress) -> None:
        """Multiply the blocks that these rows complete; `before` is not written to."""
        done = 0
        while done < len(piece):
            part = piece[done : done + self._waiting.room]
            done += len(part)
            with np.errstate(over="ignore"):
                part = part.astype(self.dtype, copy=False)
            if len(part) < self._waiting.height:  # of whole blocks the products tell
                check_rows(part)
            for start, block in self._waiting.add(part):
                y = self._product(block)
                if self._h is before:
                    self._h = before.copy()
                accumulate(self._h, block, y[:, : self.size])
                self._products.append((start, y))
            bar.advance(len(part))

    def _vectors(self) -> Array:
        """All random vectors; the last ones are probes."""
        if self._random is None:
            parts = [
                standard_normal((self.n_columns, k), dtype=self.dtype, rng=self.seed, stream=stream)
                for k, stream in ((self.size, SKETCH), (COUNT, PROBES))
            ]
            self._random = np.concatenate(parts, axis=1)
        return self._random

    def _product(self, block: Array) -> Array:
        y: Array = matmul(block, self._vectors())
        check_rows(y)
        return y

    def _complete(self) -> tuple[list[Block], Array]:
        """Products with all rows, also those that wait, and H; nothing is changed."""
        waiting = self._waiting.rest()
        if waiting is None:
            return self._products, self._h
        start, block = waiting
        y, h = self._product(block), self._h.copy()
        accumulate(h, block, y[:, : self.size])
        check_squares(h)
        return [*self._products, (start, y)], h

    def merge(self, other: LowRankSketch) -> LowRankSketch:
        """Take the rows that another sketch has seen.

        Parameters
        ----------
        other
            A sketch of other rows, alike in all but `first_row`. It stays as it is.

        Returns
        -------
        LowRankSketch
            The sketch itself. Rows that it is given from now on come behind all others.

        Raises
        ------
        ValueError
            Another width, size, dtype or seed; rows that both have seen.
        TypeError
            Not a sketch.
        """
        if not isinstance(other, LowRankSketch):
            raise TypeError(f"other is of type {type(other).__name__}; it must be a LowRankSketch")
        for name in ("n_columns", "size", "dtype", "seed"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"{name} is {mine} here, {theirs} in other; it must be the same")
        ranges = sorted(self.rows + other.rows)
        for (_, stop), (start, _) in itertools.pairwise(ranges):
            if start < stop:
                raise ValueError(f"both sketches have seen row {start}; they must have other rows")
        (mine, h), (theirs, more) = self._complete(), other._complete()
        total = h + more
        check_squares(total)
        self._products, self._h = sorted([*mine, *theirs], key=lambda block: block[0]), total
        if ranges:
            self._waiting = self._aligned(ranges[-1][1])
        return self

    def svd(self, k: int) -> RandomizedSVD:
        """The first singular triplets of all rows so far.

        Parameters
        ----------
        k
            How many, at most `size` and `n_rows`.

        Returns
        -------
        RandomizedSVD
            As of `randomized_svd`: U ``(n_rows, k)``, S ``(k,)`` and Vh ``(k, n_columns)``, with
            bounds for the error. More rows can be given afterwards.

        Raises
        ------
        ValueError
            No rows, or some missing between others; `k` out of range; numbers whose squares are
            too small for float64, or too large.
        """
        rows = self.rows
        if len(rows) != 1:
            gaps = itertools.pairwise(rows)
            missing = [f"{stop} to {start - 1}" for (_, stop), (start, _) in gaps]
            raise ValueError(f"rows {', '.join(missing)} are missing" if rows else "no rows so far")
        kept = whole_number(k, "k", 1, min(self.n_rows, self.size))
        products, h = self._complete()
        probes = np.ascontiguousarray(self._vectors()[:, self.size :])
        u, s, v, error = decomposed([y for _, y in products], h, probes, kept)
        vh = np.array(v.conj().T, order="C")
        entry_of("randomized_svd", "flip_signs", self.dtype)(u, vh)
        return RandomizedSVD(u, s, vh, ErrorEstimate(*error), 0, 1)

    def __getstate__(self) -> dict[str, Any]:
        """All but random vectors, which the seed gives, and room for rows."""
        state = self.__dict__.copy()
        state["_products"] = self._products.copy()  # a shallow copy goes on by itself
        waiting = state.pop("_waiting")
        rest = waiting.rest()
        return {**state, "_random": None, "_rest": (waiting.row, rest and rest[1])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The sketch as it was."""
        row, rest = state.pop("_rest")
        self.__dict__.update(state)
        self._waiting = self._aligned(row if rest is None else row - len(rest))
        if rest is not None:
            for _ in self._waiting.add(rest):
                raise AssertionError  # it is less than a block


def check_rows(x: Array) -> None:
    """A ValueError where rows, or sums of their numbers, are not finite."""
    if not np.isfinite(x).all():
        raise ValueError(
            "rows contains NaN or infinity, or numbers whose sums are too large for the dtype"
        )


def check_squares(h: Array) -> None:
    """A ValueError where sums of products of numbers are not finite."""
    if not np.isfinite(h).all():
        raise ValueError("rows contains numbers whose squares are too large for float64")
