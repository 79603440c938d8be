"""Activations inside ``@njit``: the addresses of their maps."""

from numba import types
from numba.core import errors

from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.activations import NAMED, map_types, user_map
from fastmat.ops.activations import ACTIVATIONS
from fastmat.ops.statistics import compute_dtype
from fastmat.overloads.addresses import nothing, of_function, of_kernel
from fastmat.overloads.typing import given


def map_address(activation, dtype):
    """A function of nothing: the address of the map for an activation, or 0."""
    item = NUMBA_DTYPES[compute_dtype(dtype).name]
    if not given(activation):
        return nothing()
    if isinstance(activation, types.Dispatcher):
        pointer = of_function(user_map(activation.dispatcher, inlined), map_types(item))
        return inlined(lambda: pointer())
    name = getattr(activation, "literal_value", getattr(activation, "value", activation))
    if not isinstance(name, str) or name not in NAMED:
        raise errors.TypingError(f"activation is {name!r}; it must be {ACTIVATIONS}")
    pointer = of_kernel(NAMED[name], compute_dtype(dtype).name)
    return inlined(lambda: pointer())
