"""A user's scalar functions, compiled for the inside of a kernel."""

import re

import numba
from numba.core import errors


def embedded(function):
    """A user's function in a form that kernels inline.

    Where it divides by zero it gets what arrays get, and a product that it adds to something is
    rounded once, unless it says otherwise.
    """
    options = dict(getattr(function, "targetoptions", {}))
    for name in ("cache", "nopython"):
        options.pop(name, None)
    options = {"fastmath": {"contract"}, **options, "error_model": "numpy", "forceinline": True}
    variables = getattr(function, "locals", {})
    return numba.njit(locals=variables, **options)(getattr(function, "py_func", function))


def compiled_at(function, signature, what):
    """Compile a function that calls a user's: its address, whether it may raise, what to keep."""
    compiled = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy")(
        function
    )
    try:
        compiled.compile(signature)
    except errors.NumbaError as error:
        raise TypeError(f"{what} cannot be compiled: {_reason(error)}") from error
    result = compiled.overloads[signature]
    name = result.fndesc.llvm_func_name
    address = result.library.get_pointer_to_function(name)
    return address, _may_raise(result.library.get_llvm_str(), name), compiled


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
