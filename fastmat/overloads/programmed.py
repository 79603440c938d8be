"""`matmul` with a semiring, a mask or an epilogue inside ``@njit``."""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, errors
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype

from fastmat.core.compile import KERNEL_DTYPES, call_all
from fastmat.core.dtypes import kernel_name
from fastmat.core.inline import inlined
from fastmat.core.mathfn import number
from fastmat.cpu import epilogues, semirings
from fastmat.cpu.programmed import programmed
from fastmat.cpu.scalar_functions import embedded, may_raise
from fastmat.cpu.views import overlap
from fastmat.ops.masks import Band, Blocks
from fastmat.ops.programmed import ACTIVATIONS, EPILOGUES
from fastmat.ops.semirings import LOGICAL, Modular, check_dtype, checked, dtype_of_product
from fastmat.overloads.addresses import SemiringType, nothing, of_function, of_kernel
from fastmat.overloads.typing import array_type, as_kernel_reads, given, numba_dtype, numpy_dtype


def constant(argument, default):
    """The Python value of an argument that is known as the program compiles."""
    if not given(argument):
        return default
    if isinstance(argument, SemiringType):
        return argument.semiring
    return getattr(argument, "literal_value", getattr(argument, "value", argument))


def semiring_of(argument):
    """The semiring that an argument stands for."""
    try:
        return checked(constant(argument, "plus_times"))
    except TypeError:
        raise errors.RequireLiteralValue(
            f"semiring is of type {argument}; it must be a constant name or a fastmat.Semiring"
        ) from None
    except ValueError as error:
        raise errors.TypingError(str(error)) from None


def dtype_for(semiring, x1, x2, dtype):
    """The NumPy dtype that a product of two arrays is computed in."""
    dtypes = numpy_dtype(x1, "x1"), numpy_dtype(x2, "x2")
    if isinstance(semiring, Modular) and any(x.kind not in "biu" for x in dtypes):
        raise errors.TypingError(f"x1 and x2 have dtypes {dtypes}; {semiring!r} wants integers")
    wanted = dtype_of_product(semiring, np.result_type(*dtypes))
    if given(dtype):
        wanted = as_dtype(dtype.dtype)
    for name, got in zip(("x1", "x2"), dtypes, strict=True):
        free = semiring in LOGICAL or isinstance(semiring, Modular)
        if not free and not np.can_cast(got, wanted, "same_kind"):
            raise errors.TypingError(f"{name} has dtype {got}, which cannot be cast to {wanted}")
    try:
        check_dtype(semiring, wanted)
    except TypeError as error:
        raise errors.TypingError(str(error)) from None
    return wanted


def converting(semiring, dtype, wanted):
    """A function that makes an operand one of the dtype that a semiring computes in."""
    item = numba_dtype(wanted)
    if isinstance(semiring, Modular):
        modulus = semiring.modulus
        if as_dtype(dtype).kind == "u":
            return njit(lambda x: (x % np.uint64(modulus)).astype(np.int64))
        return njit(lambda x: x.astype(np.int64) % modulus)
    if dtype == item:
        return njit(lambda x: x)
    if semiring in LOGICAL:
        return njit(lambda x: x != 0)
    return njit(lambda x: x.astype(item))


def program(semiring, function, wanted, extra):
    """A function of nothing: the addresses of tile, dot product and epilogue.

    And whether a function of the user's in it may raise anything.
    """
    element = KERNEL_DTYPES[wanted.name]
    kind, raises = number(element), False
    if isinstance(semiring, str):
        tile, dot = (
            of_kernel(*semirings.named(semiring, suffix, wanted.name)) for suffix in ("tile", "dot")
        )
    else:
        try:
            parts = semirings.parts_of(semiring, wanted)
        except ValueError as error:
            raise errors.TypingError(str(error)) from None
        raises = any(may_raise(x, (kind, kind)) for x in parts[:2])
        tile = of_function(inlined(semirings.tile_of(*parts)), semirings.tile_types(element))
        dot = of_function(inlined(semirings.dot_of(*parts)), semirings.dot_types(element))
    if function is None:
        epilogue = nothing()
    elif isinstance(function, str):
        kernel = epilogues.named(function)
        if wanted.name not in kernel.dtypes:
            raise errors.TypingError(f"epilogue {function!r} is not defined for {wanted}")
        epilogue = of_kernel(kernel, wanted.name)
    else:
        scalar = embedded(function, 1 + len(extra))
        raises = may_raise(scalar, (kind, *map(numba_dtype, extra))) or raises
        body = epilogues.epilogue_of(scalar, tuple(extra))
        epilogue = of_function(inlined(body), epilogues.epilogue_types(element))
    return njit(lambda: (tile(), dot(), epilogue())), raises


def epilogue_of(argument, arguments):
    """The function of an epilogue, or its name, or None, and the types of its arrays."""
    members = arguments.types if isinstance(arguments, types.BaseTuple) else ()
    if not isinstance(arguments, types.BaseTuple) and given(arguments) and arguments != ():
        got = getattr(arguments, "value", arguments)
        if got != ():
            raise errors.TypingError(f"epilogue_args is of type {arguments}; it must be a tuple")
    arrays = [array_type(x, f"epilogue_args[{i}]") for i, x in enumerate(members)]
    if not given(argument):
        if arrays:
            raise errors.TypingError("epilogue_args are given, but no epilogue")
        return None, []
    if isinstance(argument, types.Dispatcher):
        return argument.dispatcher, arrays
    name = constant(argument, None)
    if not isinstance(name, str) or EPILOGUES.get(name) != len(arrays):
        raise errors.TypingError(
            f"epilogue is {argument}; it must be a function compiled by numba.njit, or "
            f"{ACTIVATIONS}"
        )
    return name, arrays


def mask_reader(mask):
    """A function (mask, m, n, result) of a mask: its blocks, their shape and its band."""
    if not given(mask):

        def kept(mask, result, m, n):
            return np.ones((1, 1), np.bool_), m + 1, n + 1, m + n, m + n

    elif getattr(mask, "instance_class", None) is Band:

        def kept(mask, result, m, n):
            if mask.m != m or mask.n != n:
                raise ValueError("mask is of another shape than the product")
            below, above = (
                min(max(mask.lower, -(m + n)), m + n),
                min(max(mask.upper, -(m + n)), m + n),
            )
            return np.ones((1, 1), np.bool_), m + 1, n + 1, below, above

    elif getattr(mask, "instance_class", None) is Blocks:
        _check_bool(mask.types[0])

        def kept(mask, result, m, n):
            height, width = mask.height, mask.width
            if height < 1 or width < 1:
                raise ValueError("mask has blocks without entries")
            rows, columns = mask.mask.shape[-2:]
            if rows != (m + height - 1) // height or columns != (n + width - 1) // width:
                raise ValueError("mask has another number of blocks than the product")
            return mask.mask, height, width, m + n, m + n

    else:
        _check_bool(mask)

        def kept(mask, result, m, n):
            return np.broadcast_to(mask, result.shape), 1, 1, m + n, m + n

    return njit(kept)


def _check_bool(mask):
    if array_type(mask, "mask").dtype != types.boolean:
        raise errors.TypingError(f"mask has dtype {mask.dtype}; it must be bool")


def leaves_out(fill, has_out):
    """Whether entries that the mask leaves out stay as they are."""
    none = isinstance(fill, types.NoneType)
    if none and not has_out:
        raise errors.TypingError("fill is None, which leaves entries of out as they are: give out")
    return none


def fill_reader(fill, wanted):
    """A function of `fill`: an array of it, or an empty one for None."""
    item = numba_dtype(wanted)
    if isinstance(fill, types.NoneType):
        return njit(lambda fill: np.empty(0, item))
    kind = types.unliteral(fill) if isinstance(fill, types.Type) else types.intp
    if isinstance(kind, types.Omitted):
        kind = types.intp
    if not isinstance(kind, types.Number | types.Boolean) or (
        isinstance(kind, types.Complex) and wanted.kind != "c"
    ):
        raise errors.TypingError(f"fill is of type {fill}; it must be a number that {wanted} holds")
    if wanted.kind == "b":
        return njit(lambda fill: np.array([fill != 0]))
    return njit(lambda fill: np.array([fill]).astype(item))


def extra_views(count, expanded):
    """A function (arrays, result): the arrays of an epilogue, broadcast to the product."""
    if count == 0:
        return njit(lambda arrays, result: ())
    before, index = extra_views(count - 1, expanded), count - 1

    def views(arrays, result):
        found = before(arrays, result)
        return (*found, expanded(np.broadcast_to(arrays[index], result.shape)))

    return njit(views)


@intrinsic
def extra_table(typingctx, table, arrays, index):
    """Write where the arrays of an epilogue lie for a run of items: a row for each."""

    def codegen(context, builder, signature, args):
        i64 = ir.IntType(64)
        rows = context.make_array(table)(context, builder, args[0])
        pointer = builder.bitcast(rows.data, i64.as_pointer())
        indices = cgutils.unpack_tuple(builder, args[2], len(index))
        values = cgutils.unpack_tuple(builder, args[1], len(arrays))
        for position, (kind, value) in enumerate(zip(arrays, values, strict=True)):
            view = context.make_array(kind)(context, builder, value)
            strides = cgutils.unpack_tuple(builder, view.strides, kind.ndim)
            at = builder.ptrtoint(view.data, i64)
            for coordinate, stride in zip(indices, strides, strict=False):
                at = builder.add(at, builder.mul(coordinate, stride))
            step = strides[-3] if kind.ndim > 2 else ir.Constant(i64, 0)
            for word, entry in enumerate((at, step, *strides[-2:])):
                place = builder.gep(
                    pointer, [ir.Constant(i64, 4 * position + word)], source_etype=i64
                )
                builder.store(entry, place)
        return context.get_dummy_value()

    return types.void(table, arrays, index), codegen


def compute(a, b, c, program, blocks, band, fill, extras):
    """The product of stacks, for a program; only for compiled code."""
    raise TypeError("only for compiled code")


@overload(compute)
def _compute_stacks(
    a,  # in (..., m, k)
    b,  # in (..., k, n), leading axes that broadcast with those of a to those of c
    c,  # out (..., m, n)
    program,
    blocks,  # in (..., rows, columns) of the mask
    band,  # height and width of the blocks, lower, upper
    fill,
    extras,  # tuple of arrays (..., m, n)
):
    count = len(extras)
    if c.ndim == 2:

        def stacks(a, b, c, program, blocks, band, fill, extras):
            table = np.empty((count, 4), np.intp)
            extra_table(table, extras, ())
            z, kept = as_kernel_reads(c), (as_kernel_reads(blocks), *band)
            x, y, filled = as_kernel_reads(a), as_kernel_reads(b), as_kernel_reads(fill)
            args = (x, y, z, 1, 0, 0, 0, program, kept, 0, filled, table)
            call_all(programmed, z.dtype, args)

    else:

        def stacks(a, b, c, program, blocks, band, fill, extras):
            if c.size == 0:
                return
            batch = c.shape[:-2]
            x = as_kernel_reads(np.broadcast_to(a, batch + a.shape[-2:]))
            y = as_kernel_reads(np.broadcast_to(b, batch + b.shape[-2:]))
            m = as_kernel_reads(np.broadcast_to(blocks, batch + blocks.shape[-2:]))
            z, filled = as_kernel_reads(c), as_kernel_reads(fill)
            table = np.empty((count, 4), np.intp)
            steps = (batch[-1], x.strides[-3], y.strides[-3], z.strides[-3])
            for index in np.ndindex(batch[:-1]):
                extra_table(table, extras, index)
                items = x[index][0], y[index][0], z[index][0]
                kept = (m[index][0], *band)
                args = (*items, *steps, program, kept, m.strides[-3], filled, table)
                call_all(programmed, z.dtype, args)

    return stacks


def extra_dtypes(function, arrays, wanted):
    """The dtypes in which an epilogue gets its arrays."""
    if isinstance(function, str):
        item = numba_dtype(wanted)
        for position, array in enumerate(arrays):
            if array.dtype != item:
                raise errors.TypingError(
                    f"epilogue_args[{position}] has dtype {array.dtype}; it must be {item}"
                )
    for position, array in enumerate(arrays):
        if kernel_name(as_dtype(array.dtype)) is None:
            raise errors.TypingError(f"epilogue_args[{position}] has dtype {array.dtype}")
    return [as_dtype(array.dtype) for array in arrays]


def overlapping(count):
    """A function (out, extras): whether any of the arrays shares memory with `out`."""
    if count == 0:
        return njit(lambda out, extras: False)
    before, index = overlapping(count - 1), count - 1
    return njit(lambda out, extras: before(out, extras) or overlap(out, extras[index]))
