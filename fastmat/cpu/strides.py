"""Views by strides, made in compiled code, and the arithmetic of shapes and strides."""

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype

AXES = 8

# Items of each size are moved as these.
BITS = {
    1: types.int8,
    2: types.int16,
    4: types.int32,
    8: types.int64,
    16: types.complex128,
}


@intrinsic
def bits(typingctx, array, shape, strides):
    """The items of the array, as integers of their size, with this shape and these strides."""
    return _view(array, shape, strides), _codegen(holding=True)


@intrinsic
def plane(typingctx, array, offset, shape, strides):
    """`bits` that begin some bytes into the array, and do not keep it alive: cheap in a loop."""
    result = _view(array, shape, strides).return_type
    return result(array, types.intp, shape, strides), _codegen(holding=False)


@intrinsic
def address(typingctx, array):
    """Where the first item of the array is."""

    def codegen(context, builder, signature, args):
        view = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.ptrtoint(view.data, ir.IntType(64))

    return types.intp(array), codegen


def _view(array, shape, strides):
    dtype = BITS[as_dtype(array.dtype).itemsize]
    return types.Array(dtype, len(shape), "A")(array, shape, strides)


def _codegen(holding):
    def codegen(context, builder, signature, args):
        array, *offset, shape, strides = args
        array_type, result = signature.args[0], signature.return_type
        source = context.make_array(array_type)(context, builder, array)
        view = context.make_array(result)(context, builder)
        data = builder.bitcast(source.data, ir.IntType(8).as_pointer())
        if offset:
            data = builder.gep(data, offset, source_etype=ir.IntType(8))
        extents = cgutils.unpack_tuple(builder, shape)
        items = ir.Constant(ir.IntType(64), 1)
        for extent in extents:
            items = builder.mul(items, extent)
        view.data = builder.bitcast(data, view.data.type)
        view.shape, view.strides = shape, strides
        view.nitems, view.itemsize = items, source.itemsize
        view.meminfo = source.meminfo if holding else cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        value = view._getvalue()
        if holding:
            return impl_ret_borrowed(context, builder, result, value)
        return value

    return codegen


@njit
def merge_axes(
    shape,
    source,  # strides, in bytes
    target,  # strides, in bytes
):
    """Order the axes as they lie in target, and merge those that can be walked as one.

    Returns how many are left, their shape and their strides, padded with axes of one item.
    """
    for axis in range(1, AXES):
        at = axis
        while at > 0 and abs(target[at - 1]) < abs(target[at]):
            shape, source, target = _swap(shape, at), _swap(source, at), _swap(target, at)
            at -= 1
    count = 0
    for axis in range(AXES):
        n, s, t = shape[axis], source[axis], target[axis]
        if n == 1:
            continue
        if count > 0 and source[count - 1] == n * s and target[count - 1] == n * t:
            count -= 1
            n *= shape[count]
        shape = replaced(shape, count, n)
        source, target = replaced(source, count, s), replaced(target, count, t)
        count += 1
    for axis in range(count, AXES):
        shape = replaced(shape, axis, 1)
        source, target = replaced(source, axis, 0), replaced(target, axis, 0)
    return count, shape, source, target


@njit
def replaced(values, index, value):
    """The tuple with one value replaced."""
    return tuple_setitem(values, index, value)


@njit
def _swap(values, at):
    """Exchange the values at at - 1 and at."""
    before, after = values[at - 1], values[at]
    return replaced(replaced(values, at - 1, after), at, before)


@njit
def offset(index, shape, strides):
    """Bytes from the first item to the item at this flat index."""
    result = 0
    for axis in range(len(shape) - 1, -1, -1):
        n = shape[axis]
        if n > 1:
            result += index % n * strides[axis]
            index //= n
    return result


@njit
def reach(shape, strides):
    """The bytes an array takes before and after the address of its first item."""
    before, after = 0, 0
    for n, stride in zip(shape, strides):
        before -= min((n - 1) * stride, 0)
        after += max((n - 1) * stride, 0)
    return before, after
