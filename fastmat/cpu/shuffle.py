"""Transposing in registers: square tiles of any item size, and stores that pass by the caches.

A tile of V x V items is V vectors of V items, moved as bits. It takes two transposes: first the
16-byte lanes of the vectors change places, then the items within each lane. (x86 shuffles are
cheap within lanes and for whole lanes only.) Complex numbers that go to an array of real scalars
are parted: a row there is all real parts, then all imaginary parts.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

i8, i32, i64 = (ir.IntType(bits) for bits in (8, 32, 64))

LANE, TILE, LINE = 16, 32, 64  # bytes: an x86 lane, a row of `transpose_tile`, a cache line


@intrinsic
def tile_side(typingctx, array):
    """V of `transpose_tile` for the items of this array, a constant."""

    def codegen(context, builder, signature, args):
        return ir.Constant(i64, TILE // _itemsize(context, signature.args[0]))

    return types.intp(array), codegen


@intrinsic
def transpose_tile(
    typingctx,
    src,  # in (m, n), unit stride along n
    i,
    j,
    dst,  # out, unit stride along its axis 1
    p,
    q,
    streaming,  # past the caches: rows of the tile in dst must be aligned to their width
):
    """dst[p:p+V, q:q+V] = src[i:i+V, j:j+V].T, with V items in 32 bytes (`tile_side`)."""
    return _signature(src, dst), _transpose(TILE)


@intrinsic
def transpose_lane(typingctx, src, i, j, dst, p, q, streaming):
    """`transpose_tile` with V items in 16 bytes, half of `tile_side`."""
    return _signature(src, dst), _transpose(LANE)


@intrinsic
def transpose_line(typingctx, src, i, j, dst, p, q, streaming):
    """`transpose_tile` with V items in 64 bytes, twice `tile_side`: rows are cache lines."""
    return _signature(src, dst), _transpose(LINE)


@intrinsic
def transpose_column(typingctx, src, i, j, dst, p, q, streaming):
    """dst[p:p+U, q:q+V] = src[i:i+V, j:j+U].T, with U items in 16 bytes and V in 64."""

    def codegen(context, builder, signature, args):
        source, target, streaming = _operands(context, builder, signature, args)
        size = _itemsize(context, signature.args[0])
        side, part = LANE // size, _vector(size, LANE)
        rows = []
        for k in range(side):
            parts = [_load(builder, source(r), part) for r in range(k, LINE // size, side)]
            rows.append(_concatenate(builder, parts))
        targets = [target(r) for r in range(side)]
        _store(builder, _transpose_lanes(builder, rows, size), targets, streaming)
        return context.get_dummy_value()

    return _signature(src, dst), codegen


@intrinsic
def copy_line(typingctx, src, i, j, dst, p, q, streaming):
    """dst[p, q:q+V] = src[i, j:j+V], with V items in 64 bytes."""
    return _signature(src, dst), _copy(LINE)


@intrinsic
def copy_lane(typingctx, src, i, j, dst, p, q, streaming):
    """dst[p, q:q+V] = src[i, j:j+V], with V items in 16 bytes."""
    return _signature(src, dst), _copy(LANE)


@intrinsic
def reverse_line(typingctx, src, i, j, dst, p, q, streaming):
    """dst[p, q:q+V] = src[i, j:j+V][::-1], with V items in 64 bytes."""
    return _signature(src, dst), _copy(LINE, reverse=True)


@intrinsic
def reverse_lane(typingctx, src, i, j, dst, p, q, streaming):
    """dst[p, q:q+V] = src[i, j:j+V][::-1], with V items in 16 bytes."""
    return _signature(src, dst), _copy(LANE, reverse=True)


@intrinsic
def store_fence(typingctx):
    """Whatever this thread has streamed becomes visible before anything it writes from now on."""

    def codegen(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


def _signature(src, dst):
    index = types.intp
    return types.void(src, index, index, dst, index, index, types.boolean)


def _transpose(width):
    def codegen(context, builder, signature, args):
        source, target, _ = _operands(context, builder, signature, args)
        size = _itemsize(context, signature.args[0])
        lanes, side = width // LANE, LANE // size
        for lane, rows in enumerate(_load_rows(builder, source, size, lanes)):
            targets = [target(lane * side + r) for r in range(side)]
            columns = _transpose_lanes(builder, rows, size)
            _store_items(context, builder, signature, args, columns, targets)
        return context.get_dummy_value()

    return codegen


def _copy(width, reverse=False):
    def codegen(context, builder, signature, args):
        source, target, _ = _operands(context, builder, signature, args)
        size = _itemsize(context, signature.args[0])
        items = _load(builder, source(0), _vector(size, width))
        if reverse:
            per_item = items.type.count * size // width
            starts = reversed(range(0, items.type.count, per_item))
            order = [start + k for start in starts for k in range(per_item)]
            items = _shuffle(builder, items, items, order)
        _store_items(context, builder, signature, args, [items], [target(0)])
        return context.get_dummy_value()

    return codegen


def _store_items(context, builder, signature, args, vectors, targets):
    """Store vectors of items; complex ones in two parts if the target holds real scalars."""
    src_type, dst_type, streaming = signature.args[0], signature.args[3], args[-1]
    if not isinstance(src_type.dtype, types.Complex) or dst_type.dtype == src_type.dtype:
        _store(builder, vectors, targets, streaming)
        return
    view = context.make_array(dst_type)(context, builder, args[3])
    size = _itemsize(context, dst_type)
    columns = cgutils.unpack_tuple(builder, view.shape, 2)[1]
    half = builder.mul(builder.sdiv(columns, ir.Constant(i64, 2)), ir.Constant(i64, size))
    for vector, target in zip(vectors, targets, strict=True):
        count = vector.type.count * vector.type.element.width // (8 * size)
        scalars = builder.bitcast(vector, ir.VectorType(ir.IntType(8 * size), count))
        places = target, builder.gep(target, [half], source_etype=i8)
        parts = [_shuffle(builder, scalars, scalars, list(range(p, count, 2))) for p in range(2)]
        _store(builder, parts, places, streaming)


def _load_rows(builder, source, size, lanes):
    """The rows of the tile by lanes: for each lane of its columns, a square of items per lane."""
    side = LANE // size
    columns = [[] for _ in range(lanes)]
    for r in range(side):
        vector = _vector(size, LANE * lanes)
        rows = [_load(builder, source(s * side + r), vector) for s in range(lanes)]
        for column, lane in zip(columns, _exchange_lanes(builder, rows), strict=True):
            column.append(lane)
    return columns


def _exchange_lanes(builder, rows):
    """Transpose a square of 16-byte lanes, by halves of ever smaller squares."""
    lanes = len(rows)
    per_lane = rows[0].type.count // lanes
    rows = list(rows)
    half = lanes // 2
    while half:
        for r in range(lanes):
            if r & half:
                continue
            x, y = rows[r], rows[r + half]
            low, high = [], []
            for lane in range(lanes):
                first = lane * per_lane
                items = range(first, first + per_lane)
                if lane & half:
                    low += [k + (lanes - half) * per_lane for k in items]
                    high += [k + lanes * per_lane for k in items]
                else:
                    low += items
                    high += [k + half * per_lane for k in items]
            rows[r], rows[r + half] = _shuffle(builder, x, y, low), _shuffle(builder, x, y, high)
        half //= 2
    return rows


def _transpose_lanes(builder, rows, size):
    """Transpose the square of items in each lane: interleave the two halves of the rows, again
    and again."""
    side = len(rows)
    count = rows[0].type.count
    if side == 1:
        return rows
    low, high = [], []
    for start in range(0, count, side):
        for k in range(start, start + side // 2):
            low += [k, count + k]
            high += [k + side // 2, count + k + side // 2]
    distance = 1
    while distance < side:
        pairs = list(zip(rows[: side // 2], rows[side // 2 :], strict=True))
        rows = [_shuffle(builder, *pair, mask) for pair in pairs for mask in (low, high)]
        distance *= 2
    return rows


def _concatenate(builder, vectors):
    while len(vectors) > 1:
        both = range(2 * vectors[0].type.count)
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [_shuffle(builder, x, y, list(both)) for x, y in pairs]
    return vectors[0]


def _shuffle(builder, x, y, mask):
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(i32, len(mask)), mask))


def _operands(context, builder, signature, args):
    """Where row r of each tile begins, as functions of r."""
    src, i, j, dst, p, q, streaming = args
    src_type, dst_type = signature.args[0], signature.args[3]

    def rows(array_type, array, first, start):
        view = context.make_array(array_type)(context, builder, array)
        step = cgutils.unpack_tuple(builder, view.strides, 2)[0]
        size = ir.Constant(i64, _itemsize(context, array_type))
        offset = builder.add(builder.mul(first, step), builder.mul(start, size))
        base = builder.bitcast(view.data, i8.as_pointer())

        def row(r):
            distance = builder.add(offset, builder.mul(step, ir.Constant(i64, r)))
            return builder.gep(base, [distance], source_etype=i8)

        return row

    return rows(src_type, src, i, j), rows(dst_type, dst, p, q), streaming


def _itemsize(context, array_type):
    return context.get_abi_sizeof(context.get_data_type(array_type.dtype))


def _vector(size, width):
    """A vector of this many bytes. (Items of 16 bytes are pairs that are never parted.)"""
    lane = min(size, 8)
    return ir.VectorType(ir.IntType(8 * lane), width // lane)


def _load(builder, pointer, vector):
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()), typ=vector)
    value.align = 1
    return value


def _store(builder, vectors, pointers, streaming):
    """Store vectors; past the caches, with addresses aligned to their width, if `streaming`."""
    pointers = [
        builder.bitcast(pointer, vector.type.as_pointer())
        for pointer, vector in zip(pointers, vectors, strict=True)
    ]
    with builder.if_else(streaming) as (past_caches, through_caches):
        with past_caches:
            for vector, pointer in zip(vectors, pointers, strict=True):
                store = builder.store(vector, pointer)
                store.align = vector.type.count * vector.type.element.width // 8
                flag = builder.module.add_metadata([ir.Constant(i32, 1)])
                store.set_metadata("nontemporal", flag)
        with through_caches:
            for vector, pointer in zip(vectors, pointers, strict=True):
                builder.store(vector, pointer).align = 1
