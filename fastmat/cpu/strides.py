"""Views by strides, made in compiled code, and the arithmetic of shapes and strides."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import as_dtype
from numba.np.unsafe.ndarray import to_fixed_tuple

from fastmat.core.inline import inlined

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
def strided(typingctx, array, shape, strides):
    """The items of the array with this shape and these strides."""
    result = array.copy(ndim=len(shape), layout="A")
    return result(array, shape, strides), _codegen(holding=True)


@intrinsic
def plane(typingctx, array, offset, shape, strides):
    """`bits` from some bytes into the array on, which do not keep it alive: cheap in a loop.

    Nothing is assumed of their alignment.
    """
    result = _view(array, shape, strides).return_type
    result = types.Array(result.dtype, result.ndim, "A", aligned=False)
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


@intrinsic
def _on_stack(typingctx, values):
    """A copy of a tuple of integers that can be changed: an array that ends with its function."""
    result = types.Array(types.intp, 1, "C")

    def codegen(context, builder, signature, args):
        view = context.make_array(result)(context, builder)
        data = cgutils.alloca_once_value(builder, args[0])
        size = context.get_abi_sizeof(context.get_data_type(types.intp))
        populate_array(
            view,
            data=builder.bitcast(data, view.data.type),
            shape=[ir.Constant(ir.IntType(64), len(values))],
            strides=[ir.Constant(ir.IntType(64), size)],
            itemsize=ir.Constant(ir.IntType(64), size),
            meminfo=None,
        )
        return view._getvalue()

    return result(values), codegen


@inlined
def merge_axes(
    shape,
    source,  # strides, in bytes
    target,  # strides, in bytes
):
    """Order the axes as they lie in target, and merge those that can be walked as one.

    Returns how many are left, their shape and their strides, padded with axes of one item.
    """
    n, s, t = _on_stack(shape), _on_stack(source), _on_stack(target)
    count = 0
    for axis in range(AXES):
        extent, a, b = shape[axis], source[axis], target[axis]
        if extent != 1:
            at = count
            while at > 0 and abs(t[at - 1]) < abs(b):
                n[at], s[at], t[at] = n[at - 1], s[at - 1], t[at - 1]
                at -= 1
            n[at], s[at], t[at] = extent, a, b
            count += 1
    merged = 0
    for axis in range(count):
        extent, a, b = n[axis], s[axis], t[axis]
        if merged > 0 and s[merged - 1] == extent * a and t[merged - 1] == extent * b:
            merged -= 1
            extent *= n[merged]
        n[merged], s[merged], t[merged] = extent, a, b
        merged += 1
    for axis in range(merged, AXES):
        n[axis], s[axis], t[axis] = 1, 0, 0
    return merged, to_fixed_tuple(n, AXES), to_fixed_tuple(s, AXES), to_fixed_tuple(t, AXES)


@inlined
def join_axes(
    shape,
    strides,  # in bytes: AXES of the array that is written, then AXES of each other one
):
    """`merge_axes` for any number of arrays: how many axes are left, their shape and strides."""
    n, s = _on_stack(shape), _on_stack(strides)
    arrays = len(strides) // AXES
    count = 0
    for axis in range(AXES):
        if shape[axis] != 1:
            at = count
            while at > 0 and abs(s[at - 1]) < abs(strides[axis]):
                n[at] = n[at - 1]
                for first in range(0, arrays * AXES, AXES):
                    s[first + at] = s[first + at - 1]
                at -= 1
            n[at] = shape[axis]
            for first in range(0, arrays * AXES, AXES):
                s[first + at] = strides[first + axis]
            count += 1
    merged = 0
    for axis in range(count):
        joined = merged > 0
        for first in range(0, arrays * AXES, AXES):
            joined = joined and s[first + merged - 1] == n[axis] * s[first + axis]
        if joined:
            merged -= 1
            n[axis] *= n[merged]
        n[merged] = n[axis]
        for first in range(0, arrays * AXES, AXES):
            s[first + merged] = s[first + axis]
        merged += 1
    for axis in range(merged, AXES):
        n[axis] = 1
        for first in range(0, arrays * AXES, AXES):
            s[first + axis] = 0
    return merged, to_fixed_tuple(n, AXES), to_fixed_tuple(s, len(strides))


@inlined
def replaced(values, index, value):
    """The tuple with one value replaced."""
    return tuple_setitem(values, index, value)


@inlined
def repeating(array):
    """The strides of an array, 0 along axes of one item, which are repeated."""
    strides = array.strides
    for axis in range(array.ndim):
        if array.shape[axis] == 1:
            strides = tuple_setitem(strides, axis, 0)
    return strides


@inlined
def offset(index, shape, strides):
    """Bytes from the first item to the item at this flat index."""
    result = 0
    for axis in range(len(shape) - 1, -1, -1):
        n = shape[axis]
        if n > 1:
            result += index % n * strides[axis]
            index //= n
    return result
