"""Addresses of what kernels call by address, inside ``@njit``: tiles, epilogues, maps."""

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_constant
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    register_model,
    typeof_impl,
    unbox,
)

from fastmat.core.compile import address_code
from fastmat.core.inline import inlined
from fastmat.ops.semirings import Semiring


def of_kernel(kernel, name):
    """An intrinsic for the address of a kernel's specialization for the dtype of this name."""

    @intrinsic
    def address(typingctx):
        def codegen(context, builder, signature, values):
            return address_code(context, builder, kernel, name)

        return types.intp(), codegen

    return address


def of_function(function, arguments):
    """An intrinsic for the address of a function that is compiled with the user's."""

    @intrinsic
    def address(typingctx):
        resolved = types.Dispatcher(function).get_call_type(typingctx, arguments, {})

        def codegen(context, builder, signature, values):
            result = function.get_compile_result(resolved)
            context.add_linking_libs([result.library])
            declared = context.declare_function(builder.module, result.fndesc)
            return builder.ptrtoint(declared, ir.IntType(64))

        return types.intp(), codegen

    return address


def nothing():
    """The address of what is not wanted."""
    return inlined(lambda: 0)


class SemiringType(types.Opaque):
    """A semiring, of which Numba knows everything when it compiles."""

    def __init__(self, semiring):
        self.semiring = semiring
        super().__init__(f"{semiring!r} at {id(semiring):#x}")


register_model(SemiringType)(models.OpaqueModel)


@typeof_impl.register(Semiring)
def _typeof_semiring(value, context):
    return SemiringType(value)


@lower_constant(SemiringType)
def _constant_semiring(context, builder, type_, value):
    return context.get_dummy_value()


@unbox(SemiringType)
def _unbox_semiring(type_, value, context):
    return NativeValue(context.context.get_dummy_value())
