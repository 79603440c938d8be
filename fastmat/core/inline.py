"""Functions that exist only inside kernels: they become machine code with the kernel, once.

Numba compiles every function for itself: it adds wrappers for Python and C, optimizes the
function together with all that it calls, and emits machine code for it, although the caller will
inline it and do all that again. What is declared here stays as plain LLVM code until a kernel is
compiled, and is optimized there. That makes the first call of a kernel twice as quick.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
from numba import _dynfunc
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.extending import overload as numba_overload

from fastmat.core.codegen import Library, passes_with


class _Library(Library):
    """Code that is linked into others only: neither optimized alone nor made executable."""

    def finalize(self) -> None:
        linked: set[Any] = set()
        for library in self._linking_libraries:
            if library not in linked:
                linked.add(library)
                self._reload_init.update(library._reload_init)
                self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._final_module.verify()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):  # type: ignore[misc]
    """Numba's lowering, to code that is not made executable."""

    _name = "fastmat_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _Library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        state.reload_init.extend(state.library._reload_init)
        module, name = state.cr.fndesc.lookup_module(), state.cr.fndesc.qualname
        key = _dynfunc.make_function(module, name, "", 0, state.cr.env, (state.library,))
        state.targetctx.insert_user_function(key, state.cr.fndesc, [state.library])
        state["cr"] = state.cr._replace(cfunc=key)
        return True


class _Compiler(CompilerBase):  # type: ignore[misc]
    def define_pipelines(self) -> list[Any]:
        return passes_with(_Lowering, self.state)


_OPTIONS = {
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _Compiler,
    "error_model": "numpy",
}

#: Decorator: a function that only kernels call.
inlined = numba.njit(**_OPTIONS)

#: The same, inlined in any case. LLVM would rather call a long function, and a function that is
#: called counts references to each array that it gets, which takes longer than a short line.
always_inlined = numba.njit(**_OPTIONS, forceinline=True)

#: The same for a loop that adds up: its order may change, so that it becomes SIMD. NaN, infinities
#: and the rounding of single operations keep their meaning.
reducing = numba.njit(**_OPTIONS, forceinline=True, fastmath={"reassoc", "nsz", "contract"})

#: The same for a function of single numbers that micro-kernels apply in their lanes. A product that
#: is added to something is rounded once, as in `multiply_tile`.
operator = numba.njit(**_OPTIONS, forceinline=True, fastmath={"contract"})

#: `numba.extending.overload` for implementations that only kernels call.
overload = functools.partial(numba_overload, jit_options=_OPTIONS)
