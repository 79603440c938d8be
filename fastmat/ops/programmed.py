"""`matmul` with a semiring, a mask or an epilogue."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.core.checks import check_out
from fastmat.core.dtypes import DType, kernel_name, unsupported
from fastmat.ops.masks import Kept, dense, kept_by
from fastmat.ops.products import check_casts, matrices, result_shape
from fastmat.ops.sampled import is_sparse, sampled
from fastmat.ops.semirings import (
    LOGICAL,
    Modular,
    Semiring,
    check_dtype,
    checked,
    dtype_of_product,
)
from fastmat.ops.stacks import each_stack

ACTIVATIONS = '"relu", "gelu" or "silu"'
EPILOGUES = {  # by name, and how many arrays each takes: those with any are for `linear`
    **dict.fromkeys(("relu", "gelu", "silu"), 0),
    **dict.fromkeys(("bias", "bias_relu", "bias_gelu", "bias_silu"), 1),
    **dict.fromkeys(("relu_slope", "gelu_slope", "silu_slope"), 2),
}
Program = tuple[int, int, int]  # addresses of tile, dot product, epilogue


def programmed(
    x1: Any,
    x2: Any,
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
    a, b, result_dtype = ring_operands(x1, x2, dtype, ring)
    left, right, removed = matrices(a, b)
    if is_sparse(mask):
        if out is not None or epilogue is not None or removed or left.ndim > 2 or right.ndim > 2:
            raise ValueError("a sparse mask wants two matrices, and neither out nor epilogue")
        return sampled(left, right, mask, ring, result_dtype)
    full, axes, shape = result_shape(left, right, removed, (x1, x2))
    kept = kept_by(mask, full, axes)
    function, extras = _epilogue(epilogue, epilogue_args, full, axes)
    filled = _fill(fill, result_dtype, out)
    target = None if out is None else check_out(out, shape, result_dtype)
    program, users = _addresses(ring, function, extras, result_dtype)
    direct = (
        target is not None
        and not users
        and target.dtype == result_dtype
        and target.flags.aligned
        and not any(np.may_share_memory(target, x) for x in (a, b, kept[0], *extras))
    )
    result = target if target is not None and direct else np.empty(shape, result_dtype)
    matrix = np.expand_dims(result, axes) if axes else result
    try:
        _compute(left, right, matrix, program, kept, filled, extras)
    except Exception as error:
        if users and hasattr(error, "add_note"):
            error.add_note(f"raised by a function of {users}")
        raise
    if target is None:
        return like(result, x1, x2)
    if not direct:
        computed = dense(kept, full) if not filled.size else np.True_
        np.copyto(np.expand_dims(target, axes), matrix, casting="same_kind", where=computed)
    return out


def ring_operands(
    x1: Any, x2: Any, dtype: Any, semiring: str | Semiring
) -> tuple[Array, Array, DType]:
    """Both inputs as arrays that kernels can read, of the dtype that a semiring computes in."""
    a, b = as_array(x1, "x1"), as_array(x2, "x2")
    for name, x in (("x1", a), ("x2", b)):
        if kernel_name(x.dtype) is None:
            raise unsupported(name, x.dtype)
    if isinstance(semiring, Modular):
        for name, x in (("x1", a), ("x2", b)):
            if x.dtype.kind not in "biu":
                raise TypeError(f"{name} has dtype {x.dtype}; {semiring!r} wants integers")
        a, b = (residues(x, semiring.modulus) for x in (a, b))
    elif semiring in LOGICAL:
        a, b = a.astype(bool), b.astype(bool)
    promoted = dtype_of_product(semiring, np.result_type(a.dtype, b.dtype))
    wanted = promoted if dtype is None else np.dtype(dtype)
    check_casts(a, b, wanted)
    if kernel_name(wanted) is None:
        raise unsupported("the product", wanted)
    check_dtype(semiring, wanted)
    wanted = wanted.newbyteorder("=")
    a, b = (native(x.astype(wanted, order="K", copy=False)) for x in (a, b))
    return a, b, wanted


def residues(x: Array, modulus: int) -> Array:
    """Integers modulo another, as int64."""
    if x.dtype.kind == "u":
        return np.remainder(x, np.uint64(modulus)).astype(np.int64)
    return np.remainder(x.astype(np.int64), modulus)


def _epilogue(
    epilogue: Any, arguments: Any, shape: tuple[int, ...], removed: tuple[int, ...]
) -> tuple[Any, list[Array]]:
    """The function of an epilogue, or None, and its arrays, broadcast to the product."""
    if not isinstance(arguments, tuple):
        raise TypeError(f"epilogue_args is of type {type(arguments).__name__}; it must be a tuple")
    if epilogue is None and arguments:
        raise ValueError("epilogue_args are given, but no epilogue")
    if isinstance(epilogue, str):
        if EPILOGUES.get(epilogue) != len(arguments):
            raise ValueError(f"epilogue is {epilogue!r}; it must be a function, or {ACTIVATIONS}")
    elif epilogue is not None and not callable(epilogue):
        raise TypeError(f"epilogue is {epilogue!r}; it must be a function, or {ACTIVATIONS}")
    result = tuple(length for axis, length in enumerate(shape) if axis not in removed)
    extras = []
    for position, argument in enumerate(arguments):
        x = as_array(argument, f"epilogue_args[{position}]")
        if kernel_name(x.dtype) is None:
            raise unsupported(f"epilogue_args[{position}]", x.dtype)
        if x.dtype.kind == "V" or x.dtype == np.float16:
            x = x.astype(np.float32)
        try:
            x = np.broadcast_to(native(x), result)
        except ValueError:
            raise ValueError(
                f"epilogue_args[{position}] has shape {x.shape}, which does not broadcast to the "
                f"result's, {result}"
            ) from None
        extras.append(np.expand_dims(x, removed) if removed else x)
    return epilogue, extras


def _fill(fill: Any, dtype: DType, out: Any) -> Array:
    """What fills the entries that a mask leaves out: one number, or none."""
    if fill is None:
        if out is None:
            raise ValueError("fill is None, which leaves entries of out as they are: give out")
        return np.empty(0, dtype)
    value = np.asarray(fill)
    if value.ndim or kernel_name(value.dtype) is None:
        raise TypeError(f"fill is {fill!r}; it must be a number")
    if value.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(f"fill is {fill!r}, which cannot be cast to {dtype}")
    with np.errstate(all="ignore"):
        cast = value.astype(dtype)
    if dtype.kind in "biu" and cast != value:
        raise ValueError(f"fill is {fill!r}, which no {dtype} is")
    return cast.reshape(1)


def _addresses(
    semiring: str | Semiring, function: Any, extras: list[Array], dtype: DType
) -> tuple[Program, str]:
    """The program of a product, and the names of a user's functions in it that may raise."""
    semirings = importlib.import_module("fastmat.cpu.semirings")
    tile, dot, raises = semirings.addresses(semiring, dtype.name)
    users = [repr(semiring)] if raises else []
    address = 0
    if function is not None:
        epilogues = importlib.import_module("fastmat.cpu.epilogues")
        kinds = tuple(x.dtype.name for x in extras)
        address, raises = epilogues.address_of(function, dtype.name, kinds)
        if raises:
            users.append(f"the epilogue {getattr(function, '__name__', function)!r}")
    return (tile, dot, address), " and ".join(users)


def _compute(
    a: Array,
    b: Array,
    out: Array,
    program: Program,
    kept: Kept,
    fill: Array,
    extras: list[Array],
) -> None:
    if not out.size:
        return
    kernels = importlib.import_module("fastmat.cpu.programmed")
    product = kernels.programmed.entry(out.dtype)
    blocks, *band = kept
    count = 4 + len(extras)
    for run in each_stack(a, b, out, blocks, *extras):
        x, y, z, first, *others = run[:count]
        items, (x_step, y_step, z_step, mask_step, *steps) = run[count], run[count + 1 :]
        rows = [
            (other.ctypes.data, step, *other.strides)
            for other, step in zip(others, steps, strict=True)
        ]
        table = np.array(rows, np.intp).reshape(-1, 4)
        mask = (first, *band)
        product(x, y, z, items, x_step, y_step, z_step, program, mask, mask_step, fill, table)
