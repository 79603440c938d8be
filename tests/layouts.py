"""The same values in every memory layout that a caller may hand over.

A maker takes an array and returns one of the same shape and values in its own layout (only
`broadcast` changes the values: it repeats the first item along the first axis). `base_of`
gives the memory around an array, so that a test can see writes that went astray.
"""

from contextlib import contextmanager

import numpy as np


def c_order(x):
    return np.array(x, order="C")


def f_order(x):
    return np.array(x, order="F")


def transposed(x):
    """A transposed view of the C-ordered transpose (for 2-D: F-ordered), axes cycled for n-D."""
    axes = (*range(1, x.ndim), 0)[: x.ndim]
    return np.transpose(np.array(np.transpose(x, np.argsort(axes)), order="C"), axes)


def sliced(x):
    """Every second item of each axis of a bigger array."""
    base = _filled(tuple(2 * n + 1 for n in x.shape), x.dtype)
    return _view(base, tuple(slice(1, 2 * n + 1, 2) for n in x.shape), x)


def sliced_rows(x):
    """Every third item of the first axis; unit stride along the others."""
    base = _filled((3 * x.shape[0] + 1, *x.shape[1:]) if x.ndim else (), x.dtype)
    return _view(base, (slice(1, 3 * x.shape[0] + 1, 3),) if x.ndim else (), x)


def negative(x):
    """Negative strides along every axis."""
    backwards = tuple(slice(None, None, -1) for _ in x.shape)
    return np.array(x[backwards], order="C")[(*backwards, ...)]


def negative_last(x):
    """A negative stride along the last axis only."""
    return np.array(x[..., ::-1], order="C")[..., ::-1] if x.ndim else np.array(x)


def block(x):
    """A block inside a bigger C-ordered array."""
    base = _filled(tuple(n + 5 for n in x.shape), x.dtype)
    return _view(base, tuple(slice(2, n + 2) for n in x.shape), x)


def block_f(x):
    """A block inside a bigger F-ordered array."""
    base = np.array(_filled(tuple(n + 5 for n in x.shape), x.dtype), order="F")
    return _view(base, tuple(slice(3, n + 3) for n in x.shape), x)


def odd_offset(x):
    """C-ordered and aligned to the item only: starts one item into its buffer."""
    base = _filled((x.size + 3,), x.dtype)
    view = base[1 : 1 + x.size].reshape(x.shape)
    view[...] = x
    return view


def unaligned(x):
    """C-ordered, one byte off the alignment of its items."""
    base = np.zeros(x.size * x.dtype.itemsize + 1, np.uint8)
    view = np.ndarray(x.shape, x.dtype, buffer=base.data, offset=1)
    view[...] = x
    return view


def record(x):
    """A field of records, aligned; complex128 has strides that are no multiple of its size."""
    base = np.zeros(x.shape, np.dtype([("field", x.dtype), ("rest", f"V{x.dtype.alignment}")]))
    base["field"] = x
    return base["field"]


def packed_record(x):
    """A field of packed records: some items are aligned, others are not."""
    base = np.zeros(x.shape, np.dtype([("field", x.dtype), ("rest", "u1")]))
    base["field"] = x
    return base["field"]


def byte_swapped(x):
    return x.astype(x.dtype.newbyteorder(">"))


def read_only(x):
    x = np.array(x)
    x.flags.writeable = False
    return x


def broadcast(x):
    """Stride 0 along the first axis: its first item, repeated."""
    if x.ndim == 0 or x.shape[0] == 0:
        return x
    return np.broadcast_to(np.array(x[:1]), x.shape)


def broadcast_last(x):
    """Stride 0 along the last axis."""
    if x.ndim == 0 or x.shape[-1] == 0:
        return x
    return np.broadcast_to(np.array(x[..., :1]), x.shape)


WRITABLE = {
    maker.__name__: maker
    for maker in (
        c_order,
        f_order,
        transposed,
        sliced,
        sliced_rows,
        negative,
        negative_last,
        block,
        block_f,
        odd_offset,
        unaligned,
        record,
        packed_record,
        byte_swapped,
    )
}
LAYOUTS = {**WRITABLE, **{m.__name__: m for m in (read_only, broadcast, broadcast_last)}}
SAME_VALUES = {key: m for key, m in LAYOUTS.items() if not key.startswith("broadcast")}


def makers_for(dtype, makers=LAYOUTS):
    """The layouts that exist for a dtype: one byte has no order, bfloat16 has only the native."""
    one_byte = np.dtype(dtype).itemsize == 1
    absent = {"byte_swapped", "unaligned", "packed_record"} if one_byte else set()
    if np.dtype(dtype).kind == "V":
        absent = {"byte_swapped"}
    return {key: maker for key, maker in makers.items() if key not in absent}


def base_of(x):
    """The outermost array that holds the memory of x, as bytes where possible."""
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


def _filled(shape, dtype):
    """Memory around a block: odd bytes, so that it is neither zero nor NaN-free by accident."""
    size = int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
    return (np.arange(size, dtype=np.uint32) % 251 + 1).astype(np.uint8).view(dtype).reshape(shape)


def _view(base, where, values):
    view = base[(*where, ...)]
    view[...] = values
    return view


@contextmanager
def unmodified(*arrays):
    """Assert that nothing in the memory behind these arrays changes, nor their layout."""

    def state(x):
        base = base_of(x)
        return base.tobytes("A"), x.shape, x.strides, x.dtype, x.flags.writeable

    arrays = [x for x in arrays if isinstance(x, np.ndarray)]
    before = [state(x) for x in arrays]
    yield
    for x, was in zip(arrays, before, strict=True):
        assert state(x) == was, f"an input of shape {x.shape} and dtype {x.dtype} was modified"


def outside(x):
    """What lies in the memory around a writable array, with the array itself blanked out."""
    values = x.copy()
    x[...] = np.zeros((), x.dtype)
    around = base_of(x).tobytes("A")
    x[...] = values
    return around
