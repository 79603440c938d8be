"""Products by warpgroups (wgmma), which compute capability 9.0 alone has."""

from __future__ import annotations

import functools

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

from fastmat.cuda.intrinsics import _address
from fastmat.cuda.intrinsics_tensor import _assembly, _command

_I32, _F32 = ir.IntType(32), ir.FloatType()
_IN_PTX = {"float16": "f16", "bfloat16": "bf16"}

# Writes to shared memory by threads are seen by wgmma after this and a barrier.
fence_for_products = _command("fence.proxy.async.shared::cta;", "fence_for_products")
begin_products = _command("wgmma.fence.sync.aligned;", "begin_products")
commit_products = _command("wgmma.commit_group.sync.aligned;", "commit_products")


@functools.cache
def wait_for_products(pending):
    """A function that waits for all groups of products but the latest `pending`."""
    return _command(f"wgmma.wait_group.sync.aligned {pending};", f"wait_for_products_{pending}")


@functools.cache
def multiply_tiles(dtype, columns, a_transposed, b_transposed):
    """``multiply(c, a, b)``: adds a (64, 16) by (16, `columns`) product to the fragments in `c`.

    `a` and `b` are descriptors of tiles in shared memory; `transposed`: those with lines across
    k. `c` must be left alone until the product has been waited for.
    """
    count = columns // 2
    results = "{" + ",".join(f"${k}" for k in range(count)) + "}"
    kind = _IN_PTX[dtype]
    text = (
        f"wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} {results}, "
        f"${2 * count}, ${2 * count + 1}, 1, 1, 1, {int(a_transposed)}, {int(b_transposed)};"
    )
    constraints = ",".join(["=f"] * count + [str(k) for k in range(count)] + ["l", "l"])
    structure = ir.LiteralStructType([_F32] * count)

    @intrinsic
    def multiply(typing_context, c, a, b):
        def emit(context, builder, signature, values):
            kind = signature.args[0]
            places = [
                _address(context, builder, kind, values[0], ir.Constant(_I32, k))
                for k in range(count)
            ]
            sums = [builder.load(p) for p in places]
            found = _assembly(builder, structure, text, constraints, [*sums, *values[1:]])
            for k in range(count):
                builder.store(builder.extract_value(found, k), places[k])
            return context.get_dummy_value()

        return types.void(c, types.uint64, types.uint64), emit

    return multiply
