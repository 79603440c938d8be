"""Matrices that are read by rows, again and again, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array
from fastmat.core.dtypes import DType
from fastmat.ops.aligned_rows import AlignedRows, Block, computed_dtype, height_of, piece_of
from fastmat.ops.draws import FLOATING, shape_of
from fastmat.ops.matmul import matmul
from fastmat.ops.progress import Progress, checked
from fastmat.ops.statistics import integer

COLUMNS = 2**16  # of a block whose product is added at a time
FEW = 16  # blocks that are added up one after another; of more, groups are


class ByRows:
    """What is read by rows, or its transpose: an operand of randomized factorizations."""

    ndim = 2


class RowBlocks(ByRows):
    """A matrix given by its rows, which need not fit in memory.

    `randomized_svd`, `randomized_range` and `randomized_eigh` take it in the place of an array and
    read it anew in each pass; `LowRankSketch.update` reads it once.

    Parameters
    ----------
    x
        Either what has `shape`, `dtype` and slices of rows ``x[i:j]``: a `numpy.memmap`, a data
        set of h5py or zarr, an array. Or an iterable of two-dimensional blocks of rows of any
        sizes, or a function without arguments that returns an iterator of them; they are asked for
        again in each pass and have to give the same rows.
    shape
        Of an iterable: rows and columns. Without it the blocks are read once to count them.
    dtype
        float32, float64, complex64 or complex128: what rows are converted to, block by block. By
        default as in `randomized_svd`: integers to float64, float16 and bfloat16 to float32. Of an
        iterable the first block decides.
    budget
        How many bytes of rows are held at the most: two slices ``x[i:j]``, and a block of converted
        rows. The blocks of an iterable are as large as they are.
    progress
        Whether to show a bar on standard error during each pass, where that is a terminal; with
        "force" anywhere.

    Attributes
    ----------
    shape : tuple
    dtype : numpy.dtype
        What rows are converted to.
    ndim : int
    passes : int
        How many times all rows were read.

    Raises
    ------
    ValueError
        Other than two dimensions; a `budget` too small for one block; blocks of different widths;
        in a later pass, another number of rows.
    TypeError
        Dtypes that are not numbers; an iterator, which can be read only once.

    Notes
    -----
    Rows are put together to blocks of about 4 MiB, as the width and the dtype alone decide, that
    begin at multiples of their height. So neither the pieces they come in, nor the budget, nor the
    number of threads change a bit of a product. Its bits are not those of a product with the whole
    array.

    In compiled code there is no such class.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.outer(np.arange(1.0, 7.0), [3.0, 4.0])
    >>> a = fm.RowBlocks(lambda: iter([x[:4], x[4:]]), shape=(6, 2))
    >>> a
    RowBlocks of shape (6, 2), float64
    >>> found = fm.randomized_svd(a, 1, rng=0)
    >>> np.allclose(found.S, np.linalg.norm(x)), a.passes == found.n_passes
    (True, True)
    """

    def __init__(
        self,
        x: Any,
        shape: Any = None,
        *,
        dtype: Any = None,
        budget: int = 2**28,
        progress: bool | str = False,
    ) -> None:
        self.passes = 0
        self.progress = checked(progress)
        self._most = integer(budget, "budget")
        wanted = None if dtype is None else _dtype_of(dtype)
        if hasattr(x, "__dlpack__"):
            x = as_array(x, "x")
        if _by_slices(x):
            self._x, self._read = x, self._slices
            found = tuple(int(n) for n in x.shape)
            if len(found) != 2:
                raise ValueError(f"x has shape {found}; it must be a matrix")
            if shape is not None and shape_of(shape, "shape") != found:
                raise ValueError(f"x has shape {found}, but shape is {shape!r}")
            self.dtype = _compatible(computed_dtype(np.dtype(x.dtype), "x"), wanted)
            self.shape = found
        else:
            self._x, self._read = _opener(x), self._pieces
            if shape is not None and len(shape_of(shape, "shape")) != 2:
                raise ValueError(f"shape is {shape!r}; it must have two lengths")
            self.dtype, self.shape = self._looked_at(shape, wanted)
        self._step = self._rows_at_a_time()

    def __repr__(self) -> str:
        return f"{type(self).__name__} of shape {self.shape}, {self.dtype}"

    @property
    def T(self) -> Any:
        """The transposed matrix, as a linear operator."""
        return _TransposedRows(self)

    def matmat(self, q: Any) -> Array:
        """The matrix times an array ``(n, k)``, in one pass."""
        right = self._operand(q, self.shape[1])
        y = np.empty((self.shape[0], right.shape[1]), self.dtype)
        for start, block in self.blocks():
            matmul(block, right, out=y[start : start + len(block)])
        return y

    def rmatmat(self, y: Any) -> Array:
        """The conjugate transpose of the matrix times an array ``(m, k)``, in one pass."""
        right = self._operand(y, self.shape[0])
        return self._added_up(lambda start, block: right[start : start + len(block)], right)

    def power_step(self, q: Any) -> Array:
        """The conjugate transpose of the matrix times the matrix times q, in one pass."""
        right = self._operand(q, self.shape[1])
        return self._added_up(lambda start, block: matmul(block, right), right)

    def passes_of_step(self, few: int) -> int:
        """How many passes `power_step` takes."""
        return 1

    times, times_adjoint = matmat, rmatmat

    def _added_up(self, rows_of: Callable[[int, Array], Array], like: Array) -> Array:
        """The sum of adjoints of blocks times rows that belong to them, of many by groups."""
        is_complex = self.dtype.kind == "c"
        z = np.zeros((self.shape[1], like.shape[1]), self.dtype)
        count = -(-self.shape[0] // height_of(self.shape[1], self.dtype))
        group = count if count <= FEW else 1 << (count.bit_length() // 2)
        part = np.zeros_like(z) if group < count else z
        for index, (start, block) in enumerate(self.blocks()):
            rows = rows_of(start, block)
            add_product(part, block, rows.conj() if is_complex else rows)
            if part is not z and (index % group == group - 1 or index == count - 1):
                z += part
                part[...] = 0
        return np.conj(z, out=z) if is_complex else z

    def blocks(self) -> Iterator[Block]:
        """Blocks of rows, each with the number of its first row, in one pass.

        A block may be overwritten when the next one is asked for.
        """
        m, n = self.shape
        rows = AlignedRows(n, self.dtype, height_of(n, self.dtype))
        with Progress(self.progress, f"pass {self.passes + 1}", m) as bar:
            for piece in self.pieces():
                for start, block in rows.add(piece):
                    yield start, block
                    bar.advance(len(block))
            last = rows.rest()
            if last is not None:
                yield last
                bar.advance(len(last[1]))

    def pieces(self) -> Iterator[Array]:
        """The rows as they are read, in one pass, checked."""
        m, n = self.shape
        count = 0
        for rows in self._read():
            piece = piece_of(rows, n, self.dtype, f"a block of x (pass {self.passes + 1})")
            count += len(piece)
            if count > m:
                break
            yield piece
        if count != m:
            more = "more than " if count > m else "only "
            raise ValueError(
                f"pass {self.passes + 1} over x gave {more}{min(count, m)} rows; its shape is "
                f"{self.shape}, and each pass must give the same rows"
            )
        self.passes += 1

    def _slices(self) -> Iterator[Any]:
        for start in range(0, self.shape[0], self._step):
            stop = min(start + self._step, self.shape[0])
            piece = self._x[start:stop]
            if len(piece) != stop - start:
                raise ValueError(
                    f"x[{start}:{stop}] has {len(piece)} rows, though x has shape {self.shape}"
                )
            yield piece

    def _pieces(self) -> Iterator[Any]:
        return iter(self._x())

    def _looked_at(self, shape: Any, dtype: DType | None) -> tuple[DType, tuple[int, int]]:
        """The dtype by the first block, and the shape, by all of them if it is not given."""
        rows, columns = None, None
        if shape is not None:
            rows, columns = shape_of(shape, "shape")
            if dtype is not None:
                return dtype, (rows, columns)
        count = 0
        for block in self._pieces():
            piece = piece_of(block, columns, dtype, "a block of x")
            count, columns = count + len(piece), piece.shape[1]
            dtype = computed_dtype(piece.dtype, "a block of x") if dtype is None else dtype
            if rows is not None:
                return dtype, (rows, columns)
        if dtype is None or columns is None:
            raise ValueError("x gave no blocks of rows")
        self.passes += 1
        return dtype, (count, columns)

    def _rows_at_a_time(self) -> int:
        """How many rows a slice may have, beside a block of converted ones."""
        n = self.shape[1]
        height = height_of(n, self.dtype)
        stored = np.dtype(getattr(self._x, "dtype", self.dtype)).itemsize
        row = 2 * n * stored  # the slice before is let go when the next one is there
        block = min(height, max(self.shape[0], 1)) * n * self.dtype.itemsize
        rows = (self._most - block) // max(row, 1)
        if rows < 1:
            raise ValueError(
                f"budget is {self._most} bytes; with {n} columns of {self.dtype} it must be at "
                f"least {block + row}"
            )
        return rows // height * height if rows >= height else rows

    def _operand(self, q: Any, length: int) -> Array:
        right = as_array(q, "q")
        if right.ndim != 2 or right.shape[0] != length:
            raise ValueError(
                f"the operand has shape {right.shape}; with a matrix of shape {self.shape} it must "
                f"have {length} rows, and 2 dimensions"
            )
        return right.astype(self.dtype, copy=False)


class _TransposedRows(ByRows):
    """The transpose of a `RowBlocks`, as a linear operator."""

    def __init__(self, x: RowBlocks) -> None:
        self.T, self.dtype, self.shape = x, x.dtype, x.shape[::-1]

    def matmat(self, q: Array) -> Array:
        return np.asarray(np.conj(self.T.rmatmat(np.conj(q))))

    def rmatmat(self, y: Array) -> Array:
        return np.asarray(np.conj(self.T.matmat(np.conj(y))))

    def power_step(self, q: Array) -> Array:
        return self.rmatmat(self.matmat(q))

    def passes_of_step(self, few: int) -> int:
        return 2

    times, times_adjoint = matmat, rmatmat


def add_product(z: Array, block: Array, y: Array) -> None:
    """Add the transpose of a block times y, of wide blocks by parts of the columns."""
    for start in range(0, block.shape[1], COLUMNS):
        z[start : start + COLUMNS] += matmul(block[:, start : start + COLUMNS].T, y)


def _by_slices(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype") and hasattr(x, "__getitem__")


def _opener(x: Any) -> Callable[[], Any]:
    """A function that gives the blocks from the first one on."""
    if callable(x):
        return x  # type: ignore[no-any-return]
    if not hasattr(x, "__iter__"):
        raise TypeError(
            f"x is of type {type(x).__name__}; it must have shape, dtype and slices of rows, or "
            "be an iterable of blocks of rows, or a function that returns one"
        )
    if iter(x) is x:
        raise TypeError(
            "x is an iterator, which can be read only once; give a function that returns one, or "
            "use LowRankSketch"
        )
    return lambda: x


def _dtype_of(dtype: Any) -> DType:
    found = np.dtype(dtype)
    if found.name not in FLOATING:
        raise TypeError(f"dtype is {found}; it must be one of {', '.join(FLOATING)}")
    native: DType = found.newbyteorder("=")
    return native


def _compatible(found: DType, wanted: DType | None) -> DType:
    """The dtype that rows are converted to."""
    if wanted is None:
        return found
    if not np.can_cast(found, wanted, "same_kind"):
        raise TypeError(f"x has numbers of {found}; they cannot be converted to {wanted}")
    return wanted
