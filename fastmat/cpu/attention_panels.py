"""What attention and its gradients share: operands packed into panels, and the products of these.

Scores are computed in panels of NR columns: each column is a query and each line a key, or the
other way round. So a panel, with its exponentials in place of scores, is the right operand of the
next product as it stands, and largest numbers and sums of queries are those of columns.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

from fastmat.core.compile import call
from fastmat.core.elementary import exp, select
from fastmat.core.inline import always_inlined, inlined, overload, reducing
from fastmat.core.mathfn import narrow
from fastmat.cpu.attention_masks import is_hidden
from fastmat.cpu.blocking import ceil_div, tile_cols, tile_rows
from fastmat.cpu.gemm import tiles
from fastmat.cpu.panels import pack
from fastmat.cpu.simd import multiply_add
from fastmat.cpu.views import part, transposed

i8, i64 = ir.IntType(8), ir.IntType(64)


@intrinsic
def plane(typingctx, array, o, h):
    """array[o, h], borrowed as a line is: also of an array without items, to ask for its shape."""
    result = types.Array(array.dtype, 2, "A", readonly=not array.mutable)

    def codegen(context, builder, signature, args):
        view = context.make_array(array)(context, builder, args[0])
        shape = cgutils.unpack_tuple(builder, view.shape, 4)
        strides = cgutils.unpack_tuple(builder, view.strides, 4)
        offset = builder.add(*(builder.mul(i, s) for i, s in zip(args[1:], strides)))
        data = builder.gep(builder.bitcast(view.data, i8.as_pointer()), [offset], source_etype=i8)
        new = context.make_array(result)(context, builder)
        new.data = builder.bitcast(data, new.data.type)
        new.itemsize = view.itemsize
        new.nitems = builder.mul(*shape[2:])
        new.shape = cgutils.pack_array(builder, shape[2:])
        new.strides = cgutils.pack_array(builder, strides[2:])
        new.meminfo = cgutils.get_null_value(new.meminfo.type)
        new.parent = cgutils.get_null_value(new.parent.type)
        return impl_ret_borrowed(context, builder, result, new._getvalue())

    return result(array, types.intp, types.intp), codegen


@intrinsic
def as_line(typingctx, panel):
    """The numbers of a panel one after the other, borrowed."""
    result = panel.copy(ndim=1)

    def codegen(context, builder, signature, args):
        old = context.make_array(panel)(context, builder, args[0])
        new = context.make_array(result)(context, builder)
        for name in ("data", "itemsize", "nitems"):
            setattr(new, name, getattr(old, name))
        new.shape = cgutils.pack_array(builder, [old.nitems])
        new.strides = cgutils.pack_array(builder, [old.itemsize])
        new.meminfo = cgutils.get_null_value(new.meminfo.type)
        new.parent = cgutils.get_null_value(new.parent.type)
        return impl_ret_borrowed(context, builder, result, new._getvalue())

    return result(panel), codegen


@inlined
def padded(n, element):
    """A number of rows, filled up to whole tiles."""
    return ceil_div(n, tile_rows(element)) * tile_rows(element)


@inlined
def pack_rows(
    source,  # in (n, depth)
    target,  # out (padded(n) * depth or more,): panels of MR rows
):
    height, depth = tile_rows(source.dtype), source.shape[1]
    for i in range(0, source.shape[0], height):
        panel = part(target, i * depth, (i + height) * depth)
        call(pack, source.dtype, (part(source, i, i + height, 0, depth), height, panel))


@inlined
def pack_columns(
    source,  # in (n, width)
    target,  # out (n * padded(width) or more,): panels of MR columns
):
    n, height = source.shape[0], tile_rows(source.dtype)
    turned = transposed(source)
    for i in range(0, source.shape[1], height):
        panel = part(target, i * n, (i + height) * n)
        call(pack, source.dtype, (part(turned, i, i + height, 0, n), height, panel))


@inlined
def pack_panel(
    source,  # in (rows, depth)
    i,  # the first of up to NR rows
    target,  # out (depth * NR,)
):
    width, depth = tile_cols(source.dtype), source.shape[1]
    rows = part(source, i, i + width, 0, depth)
    call(pack, source.dtype, (rows, width, target))


@always_inlined
def multiply(
    numbers,  # inout (n,)
    factor,
):
    by = narrow(factor, numbers.dtype)
    for j in range(numbers.shape[0]):
        numbers[j] *= by


@inlined
def multiply_rows_by_panel(
    element,  # dtype of the operands
    depth,
    rows,  # in, address of panels of MR rows (depth, MR)
    columns,  # in, address of a panel (depth, NR)
    lines,
    result,  # out (lines, filled up to whole tiles, NR)
    edge,  # scratch (MR, NR)
):
    """result = rows @ columns. Lines beyond the last are computed till the tile is full."""
    third = tile_rows(element) // 3
    target = part(result, 0, ceil_div(lines, third) * third, 0, result.shape[1])
    call(tiles, element, (depth, rows, columns, target, False, edge))


@inlined
def add_columns_by_panel(
    element,  # dtype of the operands
    columns,  # in, panels of MR columns (lines, MR), of which the first `seen` lines count
    is_finite,  # whether that has neither NaN nor infinities
    lines,
    panel,  # in (seen * NR or more,), a panel (seen, NR)
    seen,
    first,  # the first row of the result
    result,  # inout (rows, NR), from `first` on the product, filled up to whole tiles
    height,  # rows of the product
    edge,  # scratch (MR, NR)
    flags,
    hidden,  # where the panel has zeros that nothing is multiplied with: see `hidden_part`
):
    """result += columns.T @ panel"""
    rows = tile_rows(element)
    third = rows // 3
    if is_finite or not (hidden[0] or hidden[1]):
        step = lines * rows * result.itemsize
        for i in range(0, height, rows):
            filled = ceil_div(min(rows, height - i), third) * third
            target = part(result, first + i, first + i + filled, 0, result.shape[1])
            at = columns.ctypes.data + i // rows * step
            call(tiles, element, (seen, at, panel.ctypes.data, target, True, edge))
        return
    width = result.shape[1]
    for e in range(height):
        for c in range(width):
            total = narrow(0, result.dtype)
            for p in range(seen):
                if not is_hidden(flags, hidden, p, c, width):
                    number = columns[(e // rows * lines + p) * rows + e % rows]
                    total = multiply_add(total, number, panel[p * width + c])
            result[first + e, c] += total


@reducing
def finite(
    numbers,  # in (n,)
):
    """Whether there are neither NaN nor infinities."""
    total = narrow(0, numbers.dtype)
    for j in range(numbers.shape[0]):
        total += numbers[j] * 0
    return total == 0


@always_inlined
def exponentials(
    panel,  # inout (lines * NR or more,)
    lines,
    shift,  # in (NR,)
):
    """panel = exp(panel - shift), one shift for each column."""
    width = tile_cols(panel.dtype)
    for j in range(lines):
        for c in range(width):
            panel[j * width + c] = weight(panel[j * width + c] - shift[c])


def weight(x):
    """exp(x), or 0 where that is subnormal: these take a hundred times as long to compute with."""
    raise TypeError("only for compiled code")


@overload(weight)
def _weight(x):
    real = np.float32 if x == types.float32 else np.float64
    zero, least = real(0), real(np.log(np.finfo(real).tiny))

    def weight(x):
        too_small = x < least
        return select(too_small, zero, exp(select(too_small, zero, x)))

    return weight
