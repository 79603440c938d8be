"""Work space of kernels, and the dtypes of what they keep there."""

from functools import reduce

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_new_ref
from numba.extending import intrinsic

from fastmat.core.mathfn import accumulator, real
from fastmat.cpu.blocking import CACHE_LINE

i64 = ir.IntType(64)


@intrinsic
def scratch(typingctx, shape, dtype):
    """Uninitialized array of this shape (a tuple, or an integer) that starts on a cache line."""
    ndim = len(shape) if isinstance(shape, types.BaseTuple) else 1
    result = types.Array(dtype.dtype, ndim, "C")

    def codegen(context, builder, signature, args):
        lengths = cgutils.unpack_tuple(builder, args[0]) if ndim > 1 else [args[0]]
        new = context.make_array(result)(context, builder)
        itemsize = ir.Constant(i64, context.get_abi_sizeof(context.get_data_type(result.dtype)))
        strides = [itemsize]
        for length in reversed(lengths):
            strides.insert(0, builder.mul(length, strides[0]))
        size, *strides = strides
        memory = context.nrt.meminfo_alloc_aligned_unchecked(builder, size, CACHE_LINE)
        with cgutils.if_unlikely(builder, cgutils.is_null(builder, memory)):
            context.call_conv.return_user_exc(builder, MemoryError, ("no memory for work space",))
        new.meminfo = memory
        new.data = builder.bitcast(context.nrt.meminfo_data(builder, memory), new.data.type)
        new.itemsize = itemsize
        new.nitems = reduce(builder.mul, lengths)
        new.shape, new.strides = (cgutils.pack_array(builder, x) for x in (lengths, strides))
        return impl_ret_new_ref(context, builder, result, new._getvalue())

    return result(types.UniTuple(types.intp, ndim) if ndim > 1 else types.intp, dtype), codegen


def dtype_constant(function):
    """A function from dtype to dtype, for use in compiled code."""

    @intrinsic
    def constant(typingctx, dtype):
        def codegen(context, builder, signature, args):
            return context.get_dummy_value()

        return types.DType(function(dtype.dtype))(dtype), codegen

    return constant


sum_dtype = dtype_constant(accumulator)  # what sums of products are held in
scalar_dtype = dtype_constant(real)  # the real scalars that those sums consist of
