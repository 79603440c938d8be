"""A user's scalar functions, compiled for the inside of a kernel."""

import re
import types
import weakref

import numba
from numba.core import errors

from fastmat.core.codegen import KernelCompiler


def embedded(function, arity):
    """A user's function of so many numbers in a form that kernels inline.

    Where it divides by zero it gets what arrays get, and a product that it adds to something is
    rounded once, unless it says otherwise.
    """
    if not isinstance(getattr(function, "py_func", function), types.FunctionType):
        function = _wrapped(function, arity)
    options = dict(getattr(function, "targetoptions", {}))
    for name in ("cache", "nopython"):
        options.pop(name, None)
    options = {"fastmath": {"contract"}, **options, "error_model": "numpy", "forceinline": True}
    variables = getattr(function, "locals", {})
    return numba.njit(locals=variables, **options)(getattr(function, "py_func", function))


def _wrapped(function, arity):
    """A ufunc or a builtin that Numba knows, as a Python function."""
    wrappers = {
        1: lambda x: function(x),
        2: lambda x, y: function(x, y),
        3: lambda x, y, z: function(x, y, z),
    }
    if arity not in wrappers:
        raise TypeError(f"{function!r} is not a Python function of {arity} numbers")
    return wrappers[arity]


class Compiled:
    """What was compiled for a user's function or object, while that is alive."""

    def __init__(self):
        self._collected = weakref.WeakKeyDictionary()
        self._kept = {}

    def of(self, key):
        """The table of this function or object."""
        try:
            return self._collected.setdefault(key, {})
        except TypeError:  # a ufunc or a builtin, which has no weak references
            return self._kept.setdefault(key, {})


def compiled_at(function, signature, what):
    """Compile a function that calls a user's: its address, whether it may raise, what to keep."""
    compiled = numba.njit(
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        error_model="numpy",
        pipeline_class=KernelCompiler,
    )(function)
    try:
        compiled.compile(signature)
    except errors.NumbaError as error:
        raise TypeError(f"{what} cannot be compiled: {_reason(error)}") from error
    result = compiled.overloads[signature]
    name = result.fndesc.llvm_func_name
    address = result.library.get_pointer_to_function(name)
    return address, _may_raise(result.library.get_llvm_str(), name), compiled


def may_raise(function, arguments):
    """Whether an embedded function of numbers of these types may raise anything."""
    try:
        function.compile(arguments)
    except (errors.NumbaError, TypeError):  # which tiles report that are made of it
        return True
    result = function.overloads[arguments]
    return _may_raise(result.library.get_llvm_str(), result.fndesc.llvm_func_name)


def _reason(error):
    """What Numba has against a function, without where in fastmat it came upon it."""
    found = re.findall(
        r"^ +TypingError: (.*?)\n +raised from", str(error), re.DOTALL | re.MULTILINE
    )
    return found[-1] if found else str(error)


def _may_raise(code, name):
    """Whether a function returns anything but "no error"."""
    body = re.search(
        rf"^define[^\n]*@\"?{re.escape(name)}\"?\(.*?^}}", code, re.DOTALL | re.MULTILINE
    )
    return body is None or not all(
        status == "0" for status in re.findall(r"\bret i32 (\S+)", body.group())
    )
