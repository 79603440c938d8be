"""Other views of the same memory, for kernels: parts, stacks, addresses."""

from functools import reduce
from itertools import pairwise

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

i8, i64 = (ir.IntType(bits) for bits in (8, 64))


@intrinsic
def address(typingctx, array, i, j):
    """Address of array[i, j]."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(_address(context, builder, array, *args), i64)

    return types.intp(array, types.intp, types.intp), codegen


def _address(context, builder, array_type, array, *indices):
    """Pointer to the item at the element indices of a strided array, as i8*."""
    view = context.make_array(array_type)(context, builder, array)
    strides = cgutils.unpack_tuple(builder, view.strides, array_type.ndim)
    offset = reduce(builder.add, (builder.mul(i, s) for i, s in zip(indices, strides, strict=True)))
    base = builder.bitcast(view.data, i8.as_pointer())
    return builder.gep(base, [offset], source_etype=i8)


@intrinsic
def part(typingctx, array, *bounds):
    """array[i0:i1, j0:j1, …] for 0 <= start <= stop; what lies beyond the end is left out.

    (Numba's own slices make five times the code: they allow for signs, steps and omitted ends.)
    """

    def codegen(context, builder, signature, args):
        bounds = cgutils.unpack_tuple(builder, args[1])
        shape, strides = (list(pair) for pair in _layout(context, builder, array, args[0]))
        starts = [ir.Constant(i64, 0)] * array.ndim
        for axis, (start, stop) in enumerate(zip(bounds[::2], bounds[1::2], strict=True)):
            inside = builder.icmp_signed("<", stop, shape[axis])
            shape[axis] = builder.sub(builder.select(inside, stop, shape[axis]), start)
            starts[axis] = start
        data = _address(context, builder, array, args[0], *starts)
        return _view(context, builder, array, args[0], array, shape, strides, data)

    return array(array, types.StarArgTuple([types.intp] * len(bounds))), codegen


@intrinsic
def column(typingctx, matrix, j):
    """matrix[:, j]"""
    result = types.Array(matrix.dtype, 1, "A", readonly=not matrix.mutable)

    def codegen(context, builder, signature, args):
        (m, _), (down, _) = _layout(context, builder, matrix, args[0])
        data = _address(context, builder, matrix, args[0], ir.Constant(i64, 0), args[1])
        return _view(context, builder, matrix, args[0], result, [m], [down], data)

    return result(matrix, types.intp), codegen


def _reversed_along(axis, array_type):
    """Result type and codegen of the view of a matrix with one axis reversed."""
    result = array_type.copy(layout="A")

    def codegen(context, builder, signature, args):
        shape, strides = (list(x) for x in _layout(context, builder, array_type, args[0]))
        last = [ir.Constant(i64, 0)] * 2
        last[axis] = builder.sub(shape[axis], ir.Constant(i64, 1))
        data = _address(context, builder, array_type, args[0], *last)
        strides[axis] = builder.neg(strides[axis])
        return _view(context, builder, array_type, args[0], result, shape, strides, data)

    return result(array_type), codegen


@intrinsic
def flipud(typingctx, matrix):
    """The same matrix, rows in reverse order."""
    return _reversed_along(0, matrix)


@intrinsic
def fliplr(typingctx, matrix):
    """The same matrix, columns in reverse order."""
    return _reversed_along(1, matrix)


@intrinsic
def in_rows(typingctx, line, m, n):
    """The first m * n numbers of a contiguous line, as a matrix."""
    result = line.copy(ndim=2)

    def codegen(context, builder, signature, args):
        shape = args[1:]
        size = context.make_array(line)(context, builder, args[0]).itemsize
        strides = [builder.mul(shape[1], size), size]
        return _view(context, builder, line, args[0], result, shape, strides)

    return result(line, types.intp, types.intp), codegen


@intrinsic
def stack(typingctx, array, count, step):
    """The 3-D array of `count` matrices that lie `step` bytes apart; `array` is the first."""
    result = array.copy(ndim=3)

    def codegen(context, builder, signature, args):
        first, count, step = args
        shape, strides = _layout(context, builder, array, first)
        return _view(context, builder, array, first, result, [count, *shape], [step, *strides])

    return result(array, types.intp, types.intp), codegen


@intrinsic
def tall(typingctx, array, count, step):
    """`count` matrices that lie `step` bytes apart, on top of each other, as one matrix."""

    def codegen(context, builder, signature, args):
        first, count, step = args
        (m, n), (_, along) = _layout(context, builder, array, first)
        shape = [builder.mul(count, m), n]
        return _view(context, builder, array, first, array, shape, [builder.sdiv(step, m), along])

    return array(array, types.intp, types.intp), codegen


@intrinsic
def items_as_rows(typingctx, array):
    """The items of a stack, whose numbers lie side by side, as the rows of one matrix."""
    result = array.copy(ndim=2)

    def codegen(context, builder, signature, args):
        shape, strides = _layout(context, builder, array, args[0])
        shape = [shape[0], builder.mul(shape[1], shape[2])]
        strides = [strides[0], strides[2]]
        return _view(context, builder, array, args[0], result, shape, strides)

    return result(array), codegen


@intrinsic
def transposed(typingctx, array):
    """The same matrix, or stack of matrices, with rows and columns exchanged.

    (Numba's own `transpose` takes half a second to compile, each time.)
    """

    def codegen(context, builder, signature, args):
        shape, strides = (list(pair) for pair in _layout(context, builder, array, args[0]))
        for pair in (shape, strides):
            pair[-2:] = pair[:-3:-1]
        return _view(context, builder, array, args[0], array, shape, strides)

    return array(array), codegen


@intrinsic
def moved_last(typingctx, array, axis):
    """The array with one axis, from 0 to ndim - 1, moved to the end."""
    result = array.copy(layout="A")

    def codegen(context, builder, signature, args):
        axis = args[1]
        moved = []
        for extents in _layout(context, builder, array, args[0]):
            last = extents[0]
            for i, extent in enumerate(extents):
                last = builder.select(
                    builder.icmp_signed("==", axis, ir.Constant(i64, i)), extent, last
                )
            others = [
                builder.select(builder.icmp_signed("<", ir.Constant(i64, i), axis), before, after)
                for i, (before, after) in enumerate(pairwise(extents))
            ]
            moved.append([*others, last])
        return _view(context, builder, array, args[0], result, *moved)

    return result(array, types.intp), codegen


@intrinsic
def matrices(typingctx, memory, like, count, m, n):
    """A stack (count, m, n) of items of the dtype of `like` on an array of bytes."""

    def codegen(context, builder, signature, args):
        memory, like_array, *shape = args
        size = context.make_array(like)(context, builder, like_array).itemsize
        row = builder.mul(shape[2], size)
        strides = [builder.mul(shape[1], row), row, size]
        return _view(context, builder, signature.args[0], memory, like, shape, strides)

    return like(memory, like, types.intp, types.intp, types.intp), codegen


@intrinsic
def overlap(typingctx, x, y):
    """Whether the spans of memory of two arrays meet."""

    def codegen(context, builder, signature, args):
        (x_low, x_high), (y_low, y_high) = (
            _span(context, builder, array_type, array)
            for array_type, array in zip(signature.args, args, strict=True)
        )
        return builder.and_(
            builder.icmp_unsigned("<", x_low, y_high), builder.icmp_unsigned("<", y_low, x_high)
        )

    return types.boolean(x, y), codegen


def _span(context, builder, array_type, array):
    """First and last address of an array that is not empty, plus one."""
    view = context.make_array(array_type)(context, builder, array)
    low = high = builder.ptrtoint(view.data, i64)
    zero, one = ir.Constant(i64, 0), ir.Constant(i64, 1)
    for n, stride in zip(*_layout(context, builder, array_type, array), strict=True):
        reach = builder.mul(builder.sub(n, one), stride)
        backwards = builder.icmp_signed("<", reach, zero)
        low = builder.add(low, builder.select(backwards, reach, zero))
        high = builder.add(high, builder.select(backwards, zero, reach))
    return low, builder.add(high, view.itemsize)


def _layout(context, builder, array_type, array):
    view = context.make_array(array_type)(context, builder, array)
    return (
        cgutils.unpack_tuple(builder, pair, array_type.ndim) for pair in (view.shape, view.strides)
    )


def _view(context, builder, array_type, array, result_type, shape, strides, data=None):
    """An array on the same memory with another shape and other strides."""
    old = context.make_array(array_type)(context, builder, array)
    new = context.make_array(result_type)(context, builder)
    for name in ("meminfo", "parent"):
        setattr(new, name, getattr(old, name))
    new.data = builder.bitcast(old.data if data is None else data, new.data.type)
    size = context.get_abi_sizeof(context.get_data_type(result_type.dtype))
    new.itemsize = ir.Constant(i64, size)
    new.shape = cgutils.pack_array(builder, shape)
    new.strides = cgutils.pack_array(builder, strides)
    new.nitems = reduce(builder.mul, shape)
    return impl_ret_borrowed(context, builder, result_type, new._getvalue())


@intrinsic
def as_any(typingctx, array):
    """The same array, in the type of arrays of any strides."""
    result = array.copy(layout="A")

    def codegen(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, result, args[0])

    return result(array), codegen


@intrinsic
def contiguous(typingctx, array):
    """A 1-D array whose items lie side by side, to read, in a type that says so."""
    result = array.copy(layout="C", readonly=True)

    def codegen(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, result, args[0])

    return result(array), codegen
