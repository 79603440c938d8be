"""The last step of products whose sums are split: parts are added up in their order."""

from __future__ import annotations

import numpy as np
from numba import cuda

from fastmat.cuda.finishing import Finish, finish_arguments, finishing
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.semirings import Ring, writing
from fastmat.cuda.tiling import ITEMS

_int32, _int64 = np.int32, np.int64

THREADS = 256


def combining(dtype: str, ring: Ring, axes: int, finish: Finish, name: str | None) -> Kernel:
    """The kernel that adds up parts: grid of ceil(m * n / THREADS), 1, items."""
    held = ring.held
    add = ring.add
    stored, store = writing(dtype)
    place_of = ITEMS[axes]
    leaves = finish.leaves
    finished, kept, _, fill_of, of_item = finishing(finish, ring, dtype)

    @cuda.jit(device=True, forceinline=True)
    def combine(
        parts, count, c, c_row, c_col, c_0, c_1, c_2, m, n, n_1, n_2,
        mask, mask_steps, fill, fill_imag, extras, extra_steps,
    ):  # fmt: skip
        items, item = _int64(cuda.gridDim.z), _int32(cuda.blockIdx.z)
        place = _int64(cuda.blockIdx.x) * _int64(THREADS) + _int64(cuda.threadIdx.x)
        size = _int64(m) * _int64(n)
        if place >= size:
            return
        i, j = _int32(place // n), _int32(place % n)
        i_0, i_1, i_2 = place_of(item, n_1, n_2)
        mask, extras = of_item(mask, mask_steps, extras, extra_steps, i_0, i_1, i_2)
        at = i_0 * c_0 + i_1 * c_1 + i_2 * c_2 + _int64(i) * c_row + _int64(j) * c_col
        if kept(i, j, mask):
            source = _int64(item) * size + place
            total = parts[source]
            for _ in range(1, count):
                source += items * size
                total = held(add(total, parts[source]))
            c[at] = store(finished(total, i, j, extras))
        elif not leaves:
            c[at] = store(fill_of(fill, fill_imag))

    base = [ring.pointer, "int32", f"{stored.name}*", *["int64"] * 5, *["int32"] * 4]
    if finish.plain:

        def combine_parts(
            parts, count, c, c_row, c_col, c_0, c_1, c_2, m, n, n_1, n_2
        ):  # fmt: skip
            combine(parts, count, c, c_row, c_col, c_0, c_1, c_2, m, n, n_1, n_2, 0, 0, 0, 0, 0, 0)

        return Kernel(combine_parts, base, name=name, threads=THREADS)

    def combine_and_finish(
        parts, count, c, c_row, c_col, c_0, c_1, c_2, m, n, n_1, n_2,
        mask, mask_row, mask_col, mask_0, mask_1, mask_2, height, width, below, above,
        fill, fill_imag,
        w, w_row, w_col, w_0, w_1, w_2, x, x_row, x_col, x_0, x_1, x_2,
        y, y_row, y_col, y_0, y_1, y_2, z, z_row, z_col, z_0, z_1, z_2,
    ):  # fmt: skip
        zero = _int64(0)
        combine(
            parts, count, c, c_row, c_col, c_0, c_1, c_2, m, n, n_1, n_2,
            (mask, zero, mask_row, mask_col, height, width, below, above),
            (mask_0, mask_1, mask_2),
            fill, fill_imag,
            (
                (w, zero, w_row, w_col), (x, zero, x_row, x_col),
                (y, zero, y_row, y_col), (z, zero, z_row, z_col),
            ),
            ((w_0, w_1, w_2), (x_0, x_1, x_2), (y_0, y_1, y_2), (z_0, z_1, z_2)),
        )  # fmt: skip

    arguments = [*base, *finish_arguments(finish, held)]
    return Kernel(combine_and_finish, arguments, name=name, threads=THREADS)
