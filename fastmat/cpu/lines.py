"""Lines: the runs of numbers along one axis of a 5-D array that reductions read and write.

A line is borrowed: it keeps nothing alive and counts no references, which would take as long as
the work on a short one. So the array must outlive it, as the arguments of a task do.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

from fastmat.core.inline import always_inlined, inlined, overload
from fastmat.core.mathfn import accumulator, narrow, widen
from fastmat.cpu.blocking import CACHE_LINE
from fastmat.cpu.blocking_reductions import STREAMED, STREAMED_LINE
from fastmat.cpu.shuffle import store_fence
from fastmat.cpu.simd import prefetch
from fastmat.cpu.views import part

i8, i64 = ir.IntType(8), ir.IntType(64)


def _line(axis):
    """An intrinsic for the line along an axis through a place; axes of length 1 are repeated."""

    @intrinsic
    def line(typingctx, array, *place):
        result = types.Array(array.dtype, 1, "A", readonly=not array.mutable)

        def codegen(context, builder, signature, args):
            view = context.make_array(array)(context, builder, args[0])
            shape = cgutils.unpack_tuple(builder, view.shape, array.ndim)
            strides = cgutils.unpack_tuple(builder, view.strides, array.ndim)
            indices = cgutils.unpack_tuple(builder, args[1], len(place))
            zero, one = ir.Constant(i64, 0), ir.Constant(i64, 1)
            offset = zero
            for index, length, stride in zip(indices, shape, strides, strict=True):
                single = builder.icmp_signed("==", length, one)
                step = builder.mul(index, builder.select(single, zero, stride))
                offset = builder.add(offset, step)
            base = builder.bitcast(view.data, i8.as_pointer())
            data = builder.gep(base, [offset], source_etype=i8)
            new = context.make_array(result)(context, builder)
            new.data = builder.bitcast(data, new.data.type)
            new.itemsize = view.itemsize
            length = builder.sub(shape[axis], indices[axis])
            single = builder.icmp_signed("==", shape[axis], one)
            new.nitems = builder.select(single, one, length)
            new.shape = cgutils.pack_array(builder, [new.nitems])
            new.strides = cgutils.pack_array(builder, [strides[axis]])
            new.meminfo = cgutils.get_null_value(new.meminfo.type)
            new.parent = cgutils.get_null_value(new.parent.type)
            return impl_ret_borrowed(context, builder, result, new._getvalue())

        return result(array, types.StarArgTuple([types.intp] * len(place))), codegen

    return line


line = _line(-1)  # array[o, i, p, r, q:]
across = _line(1)  # array[o, i:, p, r, q]


@intrinsic
def face(typingctx, array, o, i):
    """array[o, i:, 0, 0, :], borrowed as a line is."""
    result = types.Array(array.dtype, 2, "A", readonly=not array.mutable)

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        shape = cgutils.unpack_tuple(builder, view.shape, array.ndim)
        strides = cgutils.unpack_tuple(builder, view.strides, array.ndim)
        o, i = args[1:]
        offset = builder.add(builder.mul(o, strides[0]), builder.mul(i, strides[1]))
        data = builder.gep(builder.bitcast(view.data, i8.as_pointer()), [offset], source_etype=i8)
        new = context.make_array(result)(context, builder)
        new.data = builder.bitcast(data, new.data.type)
        new.itemsize = view.itemsize
        lengths = builder.sub(shape[1], i), shape[4]
        new.nitems = builder.mul(*lengths)
        new.shape = cgutils.pack_array(builder, lengths)
        new.strides = cgutils.pack_array(builder, (strides[1], strides[4]))
        new.meminfo = cgutils.get_null_value(new.meminfo.type)
        new.parent = cgutils.get_null_value(new.parent.type)
        return impl_ret_borrowed(context, builder, result, new._getvalue())

    return result(array, types.intp, types.intp), codegen


@intrinsic
def borrowed(typingctx, array, offset, length, stride):
    """So many items of any array from some bytes into it on, as a line of this stride in bytes."""
    result = types.Array(array.dtype, 1, "A", readonly=not array.mutable, aligned=False)

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        base = builder.bitcast(view.data, i8.as_pointer())
        data = builder.gep(base, [args[1]], source_etype=i8)
        new = context.make_array(result)(context, builder)
        new.data = builder.bitcast(data, new.data.type)
        new.itemsize, new.nitems = view.itemsize, args[2]
        new.shape = cgutils.pack_array(builder, [args[2]])
        new.strides = cgutils.pack_array(builder, [args[3]])
        new.meminfo = cgutils.get_null_value(new.meminfo.type)
        new.parent = cgutils.get_null_value(new.parent.type)
        return impl_ret_borrowed(context, builder, result, new._getvalue())

    return result(array, types.intp, types.intp, types.intp), codegen


@intrinsic
def packed(typingctx, line):
    """A line whose numbers lie side by side, in a type that says so."""
    result = line.copy(layout="C")

    def codegen(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, result, args[0])

    return result(line), codegen


@inlined
def own(buffers, slot, which):
    """One of the lines of work space that belong to a slot."""
    return packed(line(buffers, slot, which, 0))


@inlined
def is_packed(x):
    return x.strides[0] == x.itemsize or x.shape[0] == 1


def loaded(x, buffer):
    raise TypeError("only for compiled code")


@overload(loaded)
def _loaded_line(
    x,  # in (n,), of any stride
    buffer,  # scratch (n or more,)
):
    """The numbers of a line as they are computed with, side by side: x itself if it is that."""
    if accumulator(x.dtype) == x.dtype:

        def read(x, buffer):
            if is_packed(x):
                return packed(x)
            target = packed(part(buffer, 0, x.shape[0]))
            for j in range(x.shape[0]):
                target[j] = x[j]
            return as_read(target)

    else:

        def read(x, buffer):
            target = packed(part(buffer, 0, x.shape[0]))
            if is_packed(x):
                side_by_side = packed(x)
                for j in range(x.shape[0]):
                    target[j] = widen(side_by_side[j])
            else:
                for j in range(x.shape[0]):
                    target[j] = widen(x[j])
            return as_read(target)

    return read


@intrinsic
def as_read(typingctx, line):
    """The same line, read-only."""
    result = line.copy(readonly=True)

    def codegen(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, result, args[0])

    return result(line), codegen


@always_inlined
def fetch(
    x,  # in (n,)
):
    """Have a line fetched that is read soon, if its numbers lie side by side."""
    if is_packed(x):
        for offset in range(0, x.shape[0] * x.itemsize, CACHE_LINE):
            prefetch(x.ctypes.data + offset)


@inlined
def is_streamed(out):
    """Whether stores to an output pass by the caches: it would not stay there anyway."""
    return out.size * out.itemsize > STREAMED


@inlined
def finish_stores(out):
    """Wait, at the end of a task, until others see what was stored past the caches."""
    if is_streamed(out):
        store_fence()


@always_inlined
def store(
    x,  # in (n,), side by side
    target,  # out (n,), of any stride
    streaming,  # whether stores pass by the caches
):
    if not is_packed(target):
        for j in range(target.shape[0]):
            target[j] = narrow(x[j], target.dtype)
    elif streaming and target.shape[0] * target.itemsize >= STREAMED_LINE:
        _stream(x, packed(target))
    else:
        side_by_side = packed(target)
        for j in range(target.shape[0]):
            side_by_side[j] = narrow(x[j], target.dtype)


def _stream(x, target):
    raise TypeError("only for compiled code")


@overload(_stream)
def _stream_line(
    x,  # in (n,)
    target,  # out (n,)
):
    """Copy a line past the caches, but for what is not a whole cache line at its ends."""
    if accumulator(target.dtype) != target.dtype:

        def stream(x, target):
            for j in range(target.shape[0]):
                target[j] = narrow(x[j], target.dtype)

    else:

        def stream(x, target):
            n, size = target.shape[0], target.itemsize
            start, source = target.ctypes.data, x.ctypes.data
            head = min(n, -start % CACHE_LINE // size)
            lines = (n - head) * size // CACHE_LINE
            for j in range(head):
                target[j] = x[j]
            for j in range(head + lines * CACHE_LINE // size, n):
                target[j] = x[j]
            for j in range(lines):
                at = head * size + j * CACHE_LINE
                _move(source + at, start + at)

    return stream


@intrinsic
def _move(typingctx, source, target):
    """Copy one cache line, which `target` is the start of, past the caches."""

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(ir.IntType(32), CACHE_LINE // 4)
        source, target = (builder.inttoptr(x, vector.as_pointer()) for x in args)
        value = builder.load(source, typ=vector, align=4)
        moved = builder.store(value, target, align=CACHE_LINE)
        one = ir.Constant(ir.IntType(32), 1)
        moved.set_metadata("nontemporal", builder.module.add_metadata([one]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen
