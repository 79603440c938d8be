"""Activations inside ``@njit``: the addresses of their maps."""

from llvmlite import ir
from numba import types
from numba.core import errors
from numba.extending import intrinsic

from fastmat.core.compile import address_of
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.activations import NAMED, map_types, user_map
from fastmat.ops.activations import ACTIVATIONS
from fastmat.ops.statistics import compute_dtype
from fastmat.overloads.typing import given


def map_address(activation, dtype):
    """A function of nothing: the address of the map for an activation, or 0."""
    item = NUMBA_DTYPES[compute_dtype(dtype).name]
    if not given(activation):
        return inlined(lambda: 0)
    if isinstance(activation, types.Dispatcher):
        pointer = _pointer(user_map(activation.dispatcher, inlined), map_types(item))
        return inlined(lambda: pointer())
    name = getattr(activation, "literal_value", getattr(activation, "value", activation))
    if not isinstance(name, str) or name not in NAMED:
        raise errors.TypingError(f"activation is {name!r}; it must be {ACTIVATIONS}")
    kernel = NAMED[name]
    return inlined(lambda: address_of(kernel, item))


def _pointer(function, arguments):
    """An intrinsic for the address of a compiled function."""

    @intrinsic
    def pointer(typingctx):
        resolved = typingctx.resolve_function_type(types.Dispatcher(function), arguments, {})

        def codegen(context, builder, signature, values):
            result = function.get_compile_result(resolved)
            context.add_linking_libs([result.library])
            declared = context.declare_function(builder.module, result.fndesc)
            return builder.ptrtoint(declared, ir.IntType(64))

        return types.intp(), codegen

    return pointer
