"""Arrays as the kernels of reductions take them, in compiled code: which axis goes to which slot.

A plan is five tuples of axes: two slots of groups, three of the numbers of a group. The axes of
one slot are joined, so where a slot has several, the array must be contiguous.
"""

from functools import reduce

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.imputils import impl_ret_borrowed
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype

from fastmat.core.dtypes import kernel_name
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.views import overlap
from fastmat.overloads.storing import store
from fastmat.overloads.typing import check_out, given, numpy_dtype

i64 = ir.IntType(64)


def plan(x, axes, join=False):
    """The plan for groups over these axes of an array.

    The axes of a group are joined with their neighbours if the array is contiguous, as from
    Python: so the bits are the same. So are the axes of groups if there are sums over those.
    """
    ndim = x.ndim
    kept = [axis for axis in range(ndim) if axis not in axes]
    groups = _slots(kept, 2, join and x.layout == "C")
    numbers = _slots(list(axes), 3, x.layout == "C")
    if groups is None or numbers is None:
        raise errors.TypingError(
            f"axes {axes} of an array with {ndim} dimensions are too scattered; "
            "move them side by side first"
        )
    return (*groups, *numbers)


def _slots(axes, count, join):
    """The axes one by one in the last slots, or joined with their neighbours."""
    runs = [(axis,) for axis in axes]
    if join or len(runs) > count:
        runs = []
        for axis in axes:
            if runs and runs[-1][-1] == axis - 1:
                runs[-1] = (*runs[-1], axis)
            else:
                runs.append((axis,))
    return None if len(runs) > count else (*[()] * (count - len(runs)), *runs)


def is_joined(slots):
    """Whether a plan wants contiguous arrays."""
    return any(len(slot) > 1 for slot in slots)


def in_slots(slots, axes=None):
    """A function that views an array in five axes by a plan.

    `axes` tells which of the axes of the plan the array has; by default all of them.
    """

    @intrinsic
    def view(typingctx, array):
        present = list(range(array.ndim)) if axes is None else list(axes)
        stored = NUMBA_DTYPES[kernel_name(as_dtype(array.dtype))]
        result = types.Array(stored, 5, "A", readonly=not array.mutable)

        def codegen(context, builder, signature, args):
            old = context.make_array(array)(context, builder, args[0])
            lengths = cgutils.unpack_tuple(builder, old.shape, array.ndim)
            steps = cgutils.unpack_tuple(builder, old.strides, array.ndim)
            shape, strides = [], []
            for slot in slots:
                found = [present.index(axis) for axis in slot if axis in present]
                one = ir.Constant(i64, 1)
                shape.append(reduce(builder.mul, [lengths[k] for k in found], one))
                strides.append(steps[found[-1]] if found else old.itemsize)
            new = context.make_array(result)(context, builder)
            for name in ("itemsize", "nitems", "meminfo", "parent"):
                setattr(new, name, getattr(old, name))
            new.data = builder.bitcast(old.data, new.data.type)
            new.shape = cgutils.pack_array(builder, shape)
            new.strides = cgutils.pack_array(builder, strides)
            return impl_ret_borrowed(context, builder, result, new._getvalue())

        return result(array), codegen

    return view


@intrinsic
def divided(typingctx, array, groups):
    """The array with its axis 1 in groups: ``(N, groups, C // groups, ...)``."""
    result = array.copy(ndim=array.ndim + 1, layout="C" if array.layout == "C" else "A")

    def codegen(context, builder, signature, args):
        old = context.make_array(array)(context, builder, args[0])
        (n, c, *rest) = cgutils.unpack_tuple(builder, old.shape, array.ndim)
        (down, along, *steps) = cgutils.unpack_tuple(builder, old.strides, array.ndim)
        size = builder.sdiv(c, args[1])
        new = context.make_array(result)(context, builder)
        for name in ("data", "itemsize", "nitems", "meminfo", "parent"):
            setattr(new, name, getattr(old, name))
        new.shape = cgutils.pack_array(builder, [n, args[1], size, *rest])
        new.strides = cgutils.pack_array(builder, [down, builder.mul(size, along), along, *steps])
        return impl_ret_borrowed(context, builder, result, new._getvalue())

    return result(array, types.intp), codegen


def floating(x, name="x", complex_too=False):
    """The NumPy dtype that an operation on groups computes in; a TypingError for complex ones."""
    dtype = numpy_dtype(x, name)
    if dtype.kind == "c" and not complex_too:
        raise errors.TypingError(f"{name} has dtype {dtype}; it must be real")
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype


def ready(x, dtype, joined):
    """A function that makes an argument an array of this dtype, contiguous if it must be."""
    if as_dtype(x.dtype) != dtype:
        item = NUMBA_DTYPES[dtype.name]
        return inlined(lambda x: np.ascontiguousarray(x).astype(item))
    if joined and x.layout != "C":
        return inlined(lambda x: np.ascontiguousarray(x))
    return inlined(lambda x: x)


def writer(x, out, dtype, joined, run):
    """A function (arguments, extra, x, out): it calls ``run(arguments, extra, target)``.

    The target is `out` where kernels can write to it and need not fear that it overlaps what
    they read; otherwise, and where there is no `out`, a new array. What the caller wants back is
    returned.
    """
    item = NUMBA_DTYPES[dtype.name]
    if not given(out):

        def write_new(arguments, extra, x, out):
            target = np.empty(x.shape, item)
            run(arguments, extra, target)
            return target

        return inlined(write_new)

    fits = check_output(out, x.ndim, dtype) and (out.layout == "C" or not joined)
    if not fits:

        def write_converted(arguments, extra, x, out):
            if out.shape != x.shape:
                raise ValueError("out has another shape than the result")
            target = np.empty(x.shape, item)
            run(arguments, extra, target)
            store(target, out)
            return out

        return inlined(write_converted)

    def write(arguments, extra, x, out):
        if out.shape != x.shape:
            raise ValueError("out has another shape than the result")
        if _clashes(arguments, out):
            target = np.empty(x.shape, item)
            run(arguments, extra, target)
            store(target, out)
        else:
            run(arguments, extra, out)
        return out

    return inlined(write)


def pair_writer(x, out, dtype, joined, full, run):
    """A function (arguments, extra, x, out) that writes two results, of the first two arguments.

    It calls ``run(arguments, extra, target, second target)`` with views of five axes. `out` is a
    pair, of which either part may be None, or None. Each part may be the argument it belongs to.
    """
    pair = out if given(out) else (types.none, types.none)
    if not isinstance(pair, types.BaseTuple | tuple) or len(pair) != 2:
        raise errors.TypingError(f"out is {out}; with a residual it must be a pair of arrays")
    (first, finish_first), (second, finish_second) = (
        _one_of_pair(part, x.ndim, dtype, joined, full) for part in pair
    )
    split = inlined((lambda out: out) if given(out) else (lambda out: (None, None)))

    def write(arguments, extra, x, out):
        a, b = arguments[0], arguments[1]
        for_a, for_b = split(out)
        kept_a, target_a = first(for_a, x, (a, b, *arguments[2:]), for_b)
        kept_b, target_b = second(for_b, x, (b, a, *arguments[2:]), for_a)
        run(arguments, extra, target_a, target_b)
        return finish_first(for_a, kept_a, target_a), finish_second(for_b, kept_b, target_b)

    return inlined(write)


def _one_of_pair(out, ndim, dtype, joined, full):
    """A function that gives an array and the view of it that is written, and one that delivers."""
    item = NUMBA_DTYPES[dtype.name]

    @inlined
    def new(out, x, arguments, other):
        target = np.empty(x.shape, item)
        return target, full(target)

    if not given(out):
        return new, inlined(lambda out, target, view: target)
    if not check_output(out, ndim, dtype) or (joined and out.layout != "C"):

        @inlined
        def new_if_it_fits(out, x, arguments, other):
            if out.shape != x.shape:
                raise ValueError("out has another shape than the result")
            return new(out, x, arguments, other)

        @inlined
        def copied(out, target, view):
            store(target, out)
            return out

        return new_if_it_fits, copied

    @inlined
    def itself(out, x, arguments, other):
        if out.shape != x.shape:
            raise ValueError("out has another shape than the result")
        if _is_same(other, out):
            raise ValueError("out is the same array twice; result and sum need one each")
        if _clashes(arguments, out) or _meets(other, out):
            return out, full(np.empty(x.shape, item))
        return out, full(out)

    @inlined
    def delivered(out, target, view):
        own = full(target)
        if own.ctypes.data != view.ctypes.data:
            store(view, own)
        return target

    return itself, delivered


def _is_same(other, out):
    raise TypeError("only for compiled code")


@overload(_is_same)
def _is_same_array(other, out):
    if not given(other):
        return lambda other, out: False
    return lambda other, out: other.ctypes.data == out.ctypes.data and other.strides == out.strides


def _meets(other, out):
    raise TypeError("only for compiled code")


@overload(_meets)
def _meets_if_given(other, out):
    if not given(other):
        return lambda other, out: False
    return lambda other, out: overlap(other, out)


def check_output(out, ndim, dtype):
    """A TypingError unless results can be written to `out`; whether it has just their dtype."""
    check_out(out, ndim, dtype)
    return as_dtype(out.dtype) == dtype


@inlined
def _clashes(arguments, out):
    """Whether writing to `out` would change what is still to be read: x first, then the rest."""
    x = arguments[0]
    same = x.ctypes.data == out.ctypes.data and x.strides == out.strides
    return (not same and overlap(x, out)) or _any_overlaps(arguments[1:], out)


def _any_overlaps(arrays, out):
    raise TypeError("only for compiled code")


@overload(_any_overlaps)
def _any_overlaps_arrays(arrays, out):
    if len(arrays) == 0:
        return lambda arrays, out: False
    return lambda arrays, out: overlap(arrays[0], out) or _any_overlaps(arrays[1:], out)


def constant(argument, name, kinds):
    """The value of an argument that must be known when the function is compiled."""
    value = getattr(argument, "literal_value", getattr(argument, "value", argument))
    if not isinstance(value, kinds):
        raise errors.TypingError(f"{name} must be a constant inside njit; it is {argument}")
    return value


def picked(return_stats):
    """A function that takes what the caller wants from a result with its statistics."""
    if constant(return_stats, "return_stats", bool):
        return inlined(lambda found: found)
    return inlined(lambda found: found.result)


def constant_axes(axis, ndim):
    """Axes as non-negative numbers, in order; None stands for all of them."""
    if not given(axis):
        return tuple(range(ndim))
    items = axis if isinstance(axis, types.BaseTuple) else (axis,)
    found = [constant(item, "axis", int) for item in items]
    if any(not -ndim <= number < ndim for number in found):
        raise errors.TypingError(
            f"axis is {tuple(found)}; it is out of range for {ndim} dimensions"
        )
    axes = tuple(sorted(number % ndim for number in found))
    if len(set(axes)) != len(axes):
        raise errors.TypingError(f"axis is {tuple(found)}; it must not name an axis twice")
    return axes


def statistics_shape(ndim, axes):
    """A function of x: the lengths of statistics, 1 along the axes."""
    ones = (1,) * ndim
    if ndim == 0:
        return inlined(lambda x: ())

    def shape_of(x):
        shape = ones
        for axis in range(ndim):
            if axis not in axes:
                shape = tuple_setitem(shape, axis, x.shape[axis])
        return shape

    return inlined(shape_of)


def only_number(ndim):
    """A function that takes the number out of an array of one."""
    if ndim == 0:
        return inlined(lambda result: result[()])
    return inlined(lambda result: result.item())


def kept_only(ndim, kept, keep):
    """A function that drops the axes of an array of statistics that are not kept."""
    count = len(kept)
    if keep or count == ndim:
        return inlined(lambda result: result)
    if not kept:
        return inlined(lambda result: result.reshape(()))

    def without(result):
        shape = result.shape[:count]
        for k in range(count):
            shape = tuple_setitem(shape, k, result.shape[kept[k]])
        return result.reshape(shape)

    return inlined(without)
