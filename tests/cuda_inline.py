"""Inline PTX for tests: an intrinsic from its text."""

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

_KINDS = {
    "f": (types.float32, ir.FloatType()),
    "d": (types.float64, ir.DoubleType()),
    "r": (types.uint32, ir.IntType(32)),
    "l": (types.uint64, ir.IntType(64)),
}


def inline(text, constraints):
    """A function of one argument per input of `constraints`; returns the outputs in a tuple."""
    parts = [c for c in constraints.split(",") if not c.startswith("~")]
    outputs = [_KINDS[c[1]] for c in parts if c.startswith("=")]
    inputs = [_KINDS[c] for c in parts if not c.startswith("=")]
    result = types.void if not outputs else types.UniTuple(outputs[0][0], len(outputs))
    names = [f"x{i}" for i in range(len(inputs))]

    def emit(context, builder, signature, values):
        kinds = [low for _, low in outputs]
        returned = (
            ir.VoidType() if not kinds else kinds[0] if len(kinds) == 1
            else ir.LiteralStructType(kinds)
        )  # fmt: skip
        function = ir.FunctionType(returned, [low for _, low in inputs])
        answer = builder.call(
            ir.InlineAsm(function, text, constraints, side_effect=True), list(values)
        )
        if not kinds:
            return context.get_dummy_value()
        if len(kinds) == 1:
            return context.make_tuple(builder, signature.return_type, [answer])
        items = [builder.extract_value(answer, i) for i in range(len(kinds))]
        return context.make_tuple(builder, signature.return_type, items)

    def typing(names):
        scope = {"signature": result(*(high for high, _ in inputs)), "emit": emit}
        code = f"def function(typing_context, {', '.join(names)}): return signature, emit"
        exec(code, scope)
        return scope["function"]

    return intrinsic(typing(names))


@intrinsic
def shared_address(typing_context, array, i):
    """The 32-bit address of an item of an array in shared memory."""

    def emit(context, builder, signature, values):
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        item = builder.gep(data, [values[1]])
        within = builder.addrspacecast(item, ir.PointerType(item.type.pointee, addrspace=3))
        return builder.ptrtoint(within, ir.IntType(32))

    return types.uint32(array, types.int64), emit


@intrinsic
def global_address(typing_context, pointer, i):
    """The address of an item behind a pointer."""

    def emit(context, builder, signature, values):
        return builder.ptrtoint(builder.gep(values[0], [values[1]]), ir.IntType(64))

    return types.uint64(pointer, types.int64), emit


@intrinsic
def load4(typing_context, pointer, i):
    """Four float32 from i on, by one access."""
    result = types.UniTuple(types.float32, 4)

    def emit(context, builder, signature, values):
        vector = ir.VectorType(ir.FloatType(), 4).as_pointer()
        at = builder.bitcast(builder.gep(values[0], [values[1]]), vector)
        found = builder.load(at, align=16)
        items = [builder.extract_element(found, ir.Constant(ir.IntType(32), k)) for k in range(4)]
        return context.make_tuple(builder, result, items)

    return result(pointer, types.int64), emit


def atomic(operation):
    """The atomic operation on an item behind a pointer, which numba-cuda has for arrays only."""

    @intrinsic
    def function(typing_context, pointer, i, value):
        def emit(context, builder, signature, values):
            at = builder.gep(values[0], [values[1]])
            return builder.atomic_rmw(operation, at, values[2], "monotonic")

        return pointer.dtype(pointer, types.int64, pointer.dtype), emit

    return function
