"""Compiled kernels: one specialization per kernel and dtype, compiled on first use.

A kernel calls another, and a user's function calls a kernel, through a symbol named after kernel
and dtype. So nobody's machine code holds a copy of anybody else's: a kernel is optimized once, a
user's function that multiplies compiles in milliseconds, and one that was cached on disk uses
the kernels of the fastmat that is installed when it is loaded.

There are three ways to call a kernel. `call` loads it together with its caller. `call_on_demand`
leaves it until a shape first needs it: compiled code then calls back into Python. It cannot do
that inside a user's function, which may hold the GIL while its threads work, and which therefore
calls with `call_all`: that loads whatever any shape may need.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import gc
import importlib
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.callconv import RETCODE_USEREXC
from numba.core.compiler_lock import global_compiler_lock
from numba.core.imputils import lower_constant
from numba.extending import intrinsic, models, register_model, typeof_impl

from fastmat.core.cache import KernelCache
from fastmat.core.codegen import KernelCompiler
from fastmat.core.dtypes import kernel_name
from fastmat.core.mathfn import NUMBA_DTYPES, UNSIGNED
from fastmat.core.process import settle

KERNEL_DTYPES = NUMBA_DTYPES | UNSIGNED

Signature = Callable[[types.Type], tuple[types.Type, ...]]


def reads(dtype: types.Type, ndim: int) -> types.Array:
    """The type of an input array: any strides, read-only or not."""
    return types.Array(dtype, ndim, "A", readonly=True)


def writes(dtype: types.Type, ndim: int) -> types.Array:
    """The type of an output array: any strides."""
    return types.Array(dtype, ndim, "A")


class Kernel:
    """A kernel and its compiled specializations, one per dtype.

    Parameters
    ----------
    function
        The body, in the Python that Numba compiles. It returns nothing.
    signature
        Maps a Numba dtype to the types of the arguments.
    dtypes
        Names of the dtypes that the kernel can be compiled for.
    from_python
        Whether Python calls it, too: that takes a wrapper, which takes a while to compile.
    """

    def __init__(
        self,
        function: Callable[..., None],
        signature: Signature,
        dtypes: Iterable[str],
        from_python: bool,
    ) -> None:
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.signature = signature
        self.dtypes = tuple(dtypes)
        self._loaded: dict[str, Any] = {}
        self._complete: set[str] = set()
        self._cells: dict[str, ctypes.c_void_p] = {}
        self.dispatcher: Any = numba.njit(
            nogil=True,
            error_model="numpy",
            no_cpython_wrapper=not from_python,
            no_cfunc_wrapper=True,
            pipeline_class=KernelCompiler,
        )(function)

    def entry(self, dtype: np.dtype[Any]) -> Callable[..., None]:
        """The entry point for this dtype: callable from Python with arrays of just that dtype."""
        name = kernel_name(dtype)
        assert name is not None
        entry: Callable[..., None] = self.load(name).entry_point
        return entry

    def load(self, name: str) -> Any:
        """Compile the specialization for the dtype of this name, or load it from the disk."""
        with global_compiler_lock:
            if name not in self._loaded:
                signature = self.signature(KERNEL_DTYPES[name])
                self.dispatcher._cache = KernelCache(self.dispatcher.py_func, name)
                with _no_collection():
                    self.dispatcher.compile(signature)
                result = self.dispatcher.overloads[signature]
                address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
                llvm.add_symbol(self.symbol(name), address)
                settle()
                self._loaded[name] = result
                self.cell(name).value = address
            return self._loaded[name]

    def load_all(self, name: str) -> None:
        """Load the specialization, and all that it may call on demand."""
        with global_compiler_lock:
            found, pending = set(), {(self, name)}
            while pending:
                kernel, dtype = pending.pop()
                found.add((kernel, dtype))
                if dtype not in kernel._complete:
                    steps = kernel.load(dtype).reload_init
                    called = {(x.kernel(), x.dtype) for x in steps if isinstance(x, _Load)}
                    pending |= called - found
            for kernel, dtype in found:
                kernel._complete.add(dtype)

    def cell(self, name: str) -> ctypes.c_void_p:
        """Where compiled code finds the address of the specialization; null till it is loaded."""
        with global_compiler_lock:
            if name not in self._cells:
                self._cells[name] = ctypes.c_void_p()
                address = ctypes.addressof(self._cells[name])
                llvm.add_symbol(f"{self.symbol(name)}.cell", address)
            return self._cells[name]

    def numba_dtypes(self) -> list[types.Type]:
        """The dtypes that the kernel can be compiled for, as Numba knows them."""
        return [KERNEL_DTYPES[name] for name in self.dtypes]

    def arguments(self, name: str) -> str:
        """The types of the arguments, in words, for the dtype of this name."""
        return str(self.signature(KERNEL_DTYPES[name]))

    def symbol(self, name: str) -> str:
        """What the specialization for the dtype of this name is called in machine code."""
        return f"{self.__module__}.{self.__name__}.{name}"


def kernel(
    signature: Signature,
    dtypes: Iterable[str] = tuple(NUMBA_DTYPES),
    from_python: bool = False,
) -> Callable[[Callable[..., None]], Kernel]:
    """Decorator: make a function a `Kernel` with these argument types per dtype."""
    return lambda function: Kernel(function, signature, dtypes, from_python)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Leave the garbage be: collecting it takes a tenth of the time of compiling."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _KernelType(types.Opaque):  # type: ignore[misc]
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        super().__init__(f"Kernel({kernel.symbol('*')})")


register_model(_KernelType)(models.OpaqueModel)


@typeof_impl.register(Kernel)
def _typeof_kernel(value: Kernel, context: Any) -> _KernelType:
    return _KernelType(value)


@lower_constant(_KernelType)
def _constant_kernel(context: Any, builder: Any, type_: Any, value: Any) -> Any:
    return context.get_dummy_value()


@intrinsic
def call(typingctx, kernel, element, args):  # type: ignore[no-untyped-def]
    """Call a kernel's specialization for a dtype, in compiled code, with a tuple of arguments."""
    return _calling(typingctx, kernel, element, args, Kernel.load, _symbol)


@intrinsic
def call_all(typingctx, kernel, element, args):  # type: ignore[no-untyped-def]
    """Call a kernel from a user's function."""
    return _calling(typingctx, kernel, element, args, Kernel.load_all, _symbol)


@intrinsic
def call_on_demand(typingctx, kernel, element, args):  # type: ignore[no-untyped-def]
    """Call a kernel that is loaded when this call is first made."""
    return _calling(typingctx, kernel, element, args, Kernel.cell, _found_in_cell)


def address_code(context, builder, kernel, name):  # type: ignore[no-untyped-def]
    """Code for the address of a kernel's specialization, in a user's function."""
    kernel.load_all(name)
    context.active_code_library._reload_init.add(_Load(kernel, name, "load_all"))
    arguments = kernel.signature(KERNEL_DTYPES[name])
    function_type = context.call_conv.get_function_type(types.void, arguments)
    symbol = kernel.symbol(name)
    function = cgutils.get_or_insert_function(builder.module, function_type, symbol)
    return builder.ptrtoint(function, ir.IntType(64))


@intrinsic
def call_at(typingctx, address, args):  # type: ignore[no-untyped-def]
    """Call the function at this address, which takes arguments of just these types."""
    wanted = tuple(types.intp if isinstance(x, types.Integer) else x for x in args)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        convention = context.call_conv
        function_type = convention.get_function_type(types.void, wanted)
        function = builder.inttoptr(values[0], function_type.as_pointer())
        given = cgutils.unpack_tuple(builder, values[1], len(args))
        passed = [
            context.cast(builder, value, got, want)
            for value, got, want in zip(given, args, wanted, strict=True)
        ]
        status, _ = convention.call_function(builder, function, types.void, wanted, passed)
        raise_failure(context, builder, status)
        return context.get_dummy_value()

    return types.void(types.intp, args), codegen


def _calling(
    typingctx: Any,
    kernel: Any,
    element: Any,
    args: Any,
    prepare: Callable[[Kernel, str], Any],
    lookup: Callable[..., Any],
) -> Any:
    """Signature and code of the call of a kernel that `prepare` gets ready and `lookup` finds."""
    name = next(name for name, dtype in KERNEL_DTYPES.items() if dtype == element.dtype)
    wanted = kernel.kernel.signature(element.dtype)
    for got, want in zip(args, wanted, strict=True):
        if typingctx.can_convert(got, want) is None:
            raise errors.TypingError(f"{kernel.kernel.__name__} got {got}, wants {want}")

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        prepare(kernel.kernel, name)
        context.active_code_library._reload_init.add(_Load(kernel.kernel, name, prepare.__name__))
        convention = context.call_conv
        function_type = convention.get_function_type(types.void, wanted)
        function = lookup(context, builder, kernel.kernel, name, function_type)
        passed = [
            context.cast(builder, value, got, want)
            for value, got, want in zip(
                cgutils.unpack_tuple(builder, values[2], len(args)), args, wanted, strict=True
            )
        ]
        status, _ = convention.call_function(builder, function, types.void, wanted, passed)
        raise_failure(context, builder, status)
        return context.get_dummy_value()

    return types.void(kernel, element, args), codegen


def raise_failure(context: Any, builder: Any, status: Any) -> None:
    """Raise what a called function raised, if it did, in the form of a `raise` statement.

    (Numba's own way, `return_status_propagate`, hides from its optimizer that this is the end: it
    then counts references to all arrays on every call, which takes longer than a small product.)
    """
    with cgutils.if_unlikely(builder, status.is_error):
        target = context.call_conv._get_excinfo_argument(builder.function)
        store = builder.store(status.excinfoptr, target)
        mark = builder.module.add_metadata([ir.IntType(1)(1)])
        store.set_metadata("numba_exception_output", mark)
        builder.ret(RETCODE_USEREXC)


def _symbol(context, builder, kernel, name, function_type):  # type: ignore[no-untyped-def]
    return cgutils.get_or_insert_function(builder.module, function_type, kernel.symbol(name))


def _found_in_cell(context, builder, kernel, name, function_type):  # type: ignore[no-untyped-def]
    module, symbol = builder.module, kernel.symbol(name)
    pointer = function_type.as_pointer()
    cell = module.globals.get(f"{symbol}.cell")
    cell = cell or ir.GlobalVariable(module, pointer, f"{symbol}.cell")
    function = cgutils.alloca_once_value(builder, builder.load(cell, typ=pointer))
    with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(function))):
        load_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
        load = cgutils.get_or_insert_function(module, load_type, _LOAD_SYMBOL)
        builder.call(load, [context.insert_const_string(module, symbol)])
        builder.store(builder.load(cell, typ=pointer), function)
        with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(function))):
            message = f"the kernel {symbol} could not be loaded"
            context.call_conv.return_user_exc(builder, RuntimeError, (message,))
    return builder.load(function, typ=pointer)


_LOAD_SYMBOL = "fastmat.load_on_demand"


@ctypes.CFUNCTYPE(None, ctypes.c_char_p)
def _load_on_demand(symbol: bytes) -> None:
    """Load the kernel of this symbol for compiled code, which then finds it in its cell, or not."""
    try:
        module, name, dtype = symbol.decode().rsplit(".", 2)
        getattr(importlib.import_module(module), name).load(dtype)
    except KeyboardInterrupt:  # is due again as soon as the compiled code has returned
        threading.Timer(0.01, _thread.interrupt_main).start()
    except BaseException:
        traceback.print_exc()


if hasattr(os, "register_at_fork"):  # a child must not wait for a thread that it does not have
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )

llvm.add_symbol(_LOAD_SYMBOL, ctypes.cast(_load_on_demand, ctypes.c_void_p).value)


class _Load:
    """Prepares a kernel before a function that was cached on disk and calls it."""

    def __init__(self, kernel: Kernel, dtype: str, how: str) -> None:
        self.module, self.name = kernel.__module__, kernel.__name__
        self.dtype, self.arguments, self.how = dtype, kernel.arguments(dtype), how

    def kernel(self) -> Kernel:
        """The kernel of the fastmat that is installed, if it takes the same arguments."""
        kernel = getattr(importlib.import_module(self.module), self.name, None)
        if kernel is None or kernel.arguments(self.dtype) != self.arguments:
            raise RuntimeError(
                f"a function in Numba's cache calls the kernel {self.module}.{self.name} of "
                "another version of fastmat; delete the cache (the __pycache__ folder beside its "
                "source file)"
            )
        found: Kernel = kernel
        return found

    def __call__(self) -> None:
        getattr(self.kernel(), self.how)(self.dtype)

    def __hash__(self) -> int:
        return hash((self.module, self.name, self.dtype, self.how))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Load) and vars(self) == vars(other)
