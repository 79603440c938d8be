"""How many threads a kernel may use: facts about the process that compiled code reads as it runs.

A kernel runs on one thread where a parallel loop would end the process or gain nothing: in a
loop of the caller that is parallel itself, in a process forked from one that had started GNU
OpenMP's threads, and under Numba's ``workqueue`` layer, which allows one loop at a time.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

i32, i64 = ir.IntType(32), ir.IntType(64)
_INSIDE = ir.FunctionType(i32, [])

_SYMBOL = "fastmat.threads"
_MOST, _INSIDE_AT = 0, 1
# Most threads of a kernel; address of a C function that tells whether a parallel loop is running
# on the thread that calls it, or 0.
_facts = np.array([np.iinfo(np.int64).max, 0], np.int64)
llvm.add_symbol(_SYMBOL, _facts.ctypes.data)


@intrinsic
def num_threads(typingctx):  # type: ignore[no-untyped-def]
    """How many threads the caller may use: what `numba.set_num_threads` set, or one.

    Numba's own `get_num_threads` holds a pointer that forbids caching the function it is used in.
    """

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        get = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(i32, []), "get_num_threads"
        )
        facts = builder.module.globals.get(_SYMBOL)
        if facts is None:
            facts = ir.GlobalVariable(builder.module, ir.ArrayType(i64, 2), _SYMBOL)
        most, inside = (
            builder.load(cgutils.gep_inbounds(builder, facts, 0, which))
            for which in (_MOST, _INSIDE_AT)
        )
        allowed = builder.sext(builder.call(get, []), i64)
        fewer = builder.select(builder.icmp_signed("<", most, allowed), most, allowed)
        threads = cgutils.alloca_once_value(builder, fewer)
        known = builder.icmp_signed("!=", inside, ir.Constant(i64, 0))
        with builder.if_then(known):
            running = builder.call(builder.inttoptr(inside, _INSIDE.as_pointer()), [])
            with builder.if_then(builder.icmp_signed("!=", running, ir.Constant(i32, 0))):
                builder.store(ir.Constant(i64, 1), threads)
        return builder.load(threads)

    return types.intp(), codegen


_layer = ""  # Numba's threading layer, once its threads have been started


def settle() -> None:
    """Take Numba's threading layer into account, if it is known by now."""
    global _layer
    if _layer:
        return
    try:
        _layer = numba.threading_layer()
    except ValueError:  # no threads have been started yet
        return
    if _layer == "workqueue":
        _facts[_MOST] = 1
    elif _layer == "omp":
        _facts[_INSIDE_AT] = _address_of_omp_in_parallel()


def _address_of_omp_in_parallel() -> int:
    from numba.np.ufunc import omppool  # type: ignore[attr-defined]

    try:
        function = ctypes.CDLL(omppool.__file__).omp_in_parallel
    except (OSError, AttributeError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _after_fork() -> None:
    """GNU OpenMP ends a forked process that starts a parallel loop."""
    settle()  # the caller may have started the threads, for a loop of its own
    if _layer == "omp" and sys.platform == "linux":
        _facts[_MOST] = 1


def find_tbb() -> None:
    """Load the TBB that pip installed: it lies where the dynamic loader does not look."""
    try:
        files = importlib.metadata.files("tbb") or ()
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == "libtbb.so.12":
            try:
                ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
            except OSError:  # Numba then takes another layer, as if there were none
                return


find_tbb()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
