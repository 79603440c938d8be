"""Pairs of 16-bit floats in a word, as tensor cores take them."""

from __future__ import annotations

import functools

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

from fastmat.cuda.intrinsics_tensor import _assembly


@functools.cache
def pair_of(dtype):
    """``pair(x, y)``: two float32 numbers rounded to float16 or bfloat16; x in the low bits."""
    text = f"cvt.rn.{ {'float16': 'f16x2', 'bfloat16': 'bf16x2'}[dtype] }.f32 $0, $1, $2;"

    @intrinsic
    def pair(typing_context, x, y):
        def emit(context, builder, signature, values):
            return _assembly(builder, ir.IntType(32), text, "=r,f,f", values[::-1], ordered=False)

        return types.uint32(types.float32, types.float32), emit

    return pair
