"""Code of kernels, for which LLVM is told to use vectors of the full width of the CPU.

LLVM's vectorizer prefers half of it on Intel's CPUs with AVX-512, whose first models ran slower
with more: loops take a fifth more time so, and the tiles of semirings, which are meant to stay in
registers of full width, three times as much.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

from fastmat.core.isa import ISA, VECTOR_BYTES

_WIDTH = f'"prefer-vector-width"="{8 * VECTOR_BYTES[ISA]}"'


class Library(JITCodeLibrary):  # type: ignore[misc]
    """Machine code of one function and of what it inlines."""

    def add_ir_module(self, module: Any) -> None:
        for function in module.functions:
            if function.blocks:
                set.add(function.attributes, _WIDTH)  # llvmlite lets only names without value pass
        super().add_ir_module(module)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):  # type: ignore[misc]
    _name = "fastmat_lowering_of_kernels"

    def run_pass(self, state: Any) -> bool:
        state.library = Library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        done: bool = super().run_pass(state)
        return done


def passes_with(lowering: type[NativeLowering], state: Any) -> list[Any]:
    """Numba's passes, of which one is replaced: that which makes LLVM code."""
    passes = DefaultPassBuilder.define_nopython_pipeline(state)
    passes.passes = [
        (lowering if step is NativeLowering else step, description)
        for step, description in passes.passes
    ]
    passes.finalize()
    return [passes]


class KernelCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's compiler, for functions that become kernels."""

    def define_pipelines(self) -> list[Any]:
        return passes_with(_Lowering, self.state)
