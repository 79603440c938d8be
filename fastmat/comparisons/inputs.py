"""Operands for a case: random numbers from a fixed seed, or the pixels of a photograph."""

from __future__ import annotations

import numpy as np

from fastmat.comparisons import decompositions, masked_reductions, moves, programs, sparse, tall
from fastmat.comparisons.cases import Case, Shape
from fastmat.comparisons.results import Array, with_results

# ITU-R BT.601: red, green, blue (rows) to luma and two chroma differences (columns).
_YCBCR = np.array([[0.299, -0.1687, 0.5], [0.587, -0.3313, -0.4187], [0.114, 0.5, -0.0813]])


class Unavailable(Exception):
    """The case cannot run here; the message says what is missing."""


def operands(case: Case) -> tuple[Array, ...]:
    """The operands of a case; the same in every run.

    A batch norm in training updates two of them, on which its result does not depend.
    """
    if case.source == "photo":
        pixels = _photo(case.shapes[0]).astype(case.dtype)
        if case.op != "matmul":
            return (pixels,)
        scale = 1 if case.dtype.startswith("float") else 2**14
        return pixels, np.round(_YCBCR * scale, 4 if scale == 1 else 0).astype(case.dtype)
    if sparse.has(case):
        return sparse.operands(case)
    rng = np.random.default_rng(1)
    arrays = tuple(_random(rng, shape, np.dtype(case.dtype)) for shape in case.shapes)
    if case.clusters:
        return _with_labels(case, arrays, rng)
    if case.op in moves.PARAMETERS:
        return moves.operands(case, arrays, rng)
    if programs.has(case):
        return programs.operands(case, arrays, rng)
    if decompositions.has(case):
        return decompositions.operands(case, arrays)
    if tall.has(case):
        return tall.operands(case, arrays)
    if case.masked or masked_reductions.is_masked(case.op):
        names = ("", *case.parameters)
        arrays = tuple(
            masked_reductions.mask_of(rng, array.shape) if name == "mask" else array
            for name, array in zip(names, arrays, strict=True)
        )
    if case.layout == "reversed":
        return tuple(array[..., ::-1, ::-1] for array in arrays)
    if case.op == "batch_norm":
        variance = arrays[2]
        np.copyto(variance, np.abs(variance) + np.float16(0.5))
    if case.layout == "channels-last":
        arrays = tuple(_channels_last(array) if array.ndim > 2 else array for array in arrays)
    return with_results(case, arrays) if case.op.endswith("_vjp") else arrays


def _channels_last(array: Array) -> Array:
    """The same numbers, with the second axis innermost in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def _with_labels(
    case: Case, arrays: tuple[Array, ...], rng: np.random.Generator
) -> tuple[Array, ...]:
    """The operands of a case on clusters, with labels where they belong."""
    names = ("", *case.parameters)
    return tuple(
        rng.integers(case.clusters, size=len(array)) if name in ("clusters", "labels") else array
        for name, array in zip(names, arrays, strict=True)
    )


def _random(rng: np.random.Generator, shape: Shape, dtype: np.dtype[np.generic]) -> Array:
    if dtype.kind == "b":
        return rng.random(shape) < 0.02  # dense ones let NumPy leave each sum at its first term
    if dtype.kind in "iu":
        low, high = (0, 100) if dtype.kind == "u" else (-100, 100)
        return rng.integers(low, high, shape, dtype)
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        return rng.standard_normal((*shape, 2), part).view(dtype)[..., 0]
    wide = np.float64 if dtype == np.float64 else np.float32
    return rng.standard_normal(shape, wide).astype(dtype)


def _photo(shape: Shape) -> Array:
    """Grace Hopper in uniform, a public-domain photograph that Matplotlib ships."""
    try:
        from matplotlib import cbook, image
    except ImportError as error:
        raise Unavailable(
            'the photograph comes with matplotlib: pip install "fastmat-kernels[bench]"'
        ) from error
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        pixels = np.asarray(image.imread(file, format="jpg"))
    if pixels.shape != shape:
        raise Unavailable(f"matplotlib's photograph has changed its size to {pixels.shape}")
    return pixels
