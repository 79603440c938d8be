"""`matmul` on GPUs with a semiring, a mask or an epilogue."""

from __future__ import annotations

from typing import Any

from fastmat.core.dtypes import dtype_named
from fastmat.cuda.arrays import View, same_device, view
from fastmat.cuda.epilogues import NAMED
from fastmat.cuda.finishing import MOST_EXTRAS, compile_epilogue
from fastmat.cuda.matmul import Mask, Program
from fastmat.cuda.semirings import compile_ring
from fastmat.ops import programmed as on_cpu
from fastmat.ops.masks import Band, Blocks, kept_by
from fastmat.ops.on_gpu.products import (
    compiling,
    compute,
    device_of,
    matrices,
    result_shape,
    ring_and_reads,
    stand_in,
    stored,
    with_axes,
)
from fastmat.ops.sampled import is_sparse
from fastmat.ops.semirings import Semiring, checked


def programmed(
    a: View,
    b: View,
    out: Any,
    dtype: Any,
    semiring: Any,
    mask: Any,
    fill: Any,
    epilogue: Any,
    epilogue_args: Any,
) -> Any:
    """The product of `matmul`, for any semiring, mask and epilogue."""
    ring = checked("plus_times" if semiring is None else semiring)
    device_of(a, b)
    kernel_ring, reads, wanted = ring_and_reads(ring, a, b, dtype)
    left, right, removed = matrices(a, b)
    if is_sparse(mask):
        raise TypeError("mask is sparse; products of arrays on a GPU want booleans or a mask of "
                        "fastmat.masks")  # fmt: skip
    full, axes, shape = result_shape(left, right, removed, (a, b))
    kept = kept_views(mask, full, axes)
    extras = _extras(epilogue, epilogue_args, full, axes, wanted)
    filled = on_cpu._fill(fill, dtype_named(wanted), out)
    value = filled.item() if filled.size else None
    program = Program(kept, value, epilogue, tuple(extras))
    read = [a, b, *extras, *(() if kept is None or kept.blocks is None else (kept.blocks,))]
    for position, x in enumerate(read[2:]):
        name = f"epilogue_args[{position}]" if position < len(extras) else "mask"
        same_device(x1=a, **{name: x})
    users = [repr(ring)] if isinstance(ring, Semiring) else []
    if epilogue is not None and not isinstance(epilogue, str):
        users.append(repr(getattr(epilogue, "__name__", epilogue)))
    with compiling(" and ".join(users) or None, wanted):
        if isinstance(ring, Semiring):
            compile_ring(kernel_ring, a.device)
        if epilogue is not None and not isinstance(epilogue, str):
            compile_epilogue(epilogue, wanted, tuple(x.dtype for x in extras), a.device)
        return stored(
            out, shape, wanted, tuple(read), axes,
            lambda c: compute(left, right, c, kernel_ring, reads, program),
            keeps=kept is not None and value is None,
        )  # fmt: skip


def kept_views(mask: Any, full: tuple[int, ...], axes: tuple[int, ...]) -> Mask | None:
    """A mask as kernels take it."""
    if mask is None:
        return None
    if isinstance(mask, Band):
        _, *numbers = kept_by(mask, full, axes)
        return Mask(None, *numbers)
    booleans = view(mask.mask if isinstance(mask, Blocks) else mask, "mask")
    empty = stand_in(booleans)
    if isinstance(mask, Blocks):
        _, *numbers = kept_by(mask._replace(mask=empty), full, axes)
        return Mask(booleans, *numbers)
    _, *numbers = kept_by(empty, full, axes)
    return Mask(_as_result(booleans, full, axes), *numbers)


def _as_result(x: View, full: tuple[int, ...], axes: tuple[int, ...]) -> View:
    """A view broadcast to the result, with the axes that the result lacks."""
    shape = tuple(n for axis, n in enumerate(full) if axis not in axes)
    return with_axes(x.broadcast_to(shape), axes)


def _extras(
    epilogue: Any, arguments: Any, full: tuple[int, ...], axes: tuple[int, ...], dtype: str
) -> list[View]:
    """The arrays of an epilogue, broadcast to the result."""
    views = []
    if isinstance(arguments, tuple):
        views = [view(x, f"epilogue_args[{i}]") for i, x in enumerate(arguments)]
        arguments = tuple(map(stand_in, views))
    on_cpu._epilogue(epilogue, arguments, full, axes)  # checks
    if isinstance(epilogue, str) and dtype not in NAMED[epilogue]:
        raise TypeError(f"epilogue {epilogue!r} is not defined for {dtype}")
    if len(views) > MOST_EXTRAS:
        raise TypeError(
            f"epilogue_args has {len(views)} arrays; on GPUs it may have {MOST_EXTRAS} at most"
        )
    return [_as_result(x, full, axes) for x in views]
