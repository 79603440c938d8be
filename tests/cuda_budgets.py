"""Budgets on the machine code of kernels for GPUs: which instructions, how many registers.

A budget names kernels as their factories do, or by a public call that launches them.
"""

import numpy as np
import pytest
from machine_code import Budget

pytest.importorskip("numba_cuda")

from cuda_emulator import EmulatedArray, Emulator, emulated

import fastmat as fm
from fastmat.cuda import launch_tensor_core, tensor_mma
from fastmat.cuda.attention import attention
from fastmat.cuda.launch_attention import tiles_for

WIDE = ("LDG.E.128", "LDS.128", "STS.128", "STG.E.128")


def launched(call):
    """The kernels that a call launches on a GPU with 132 multiprocessors; they do not run.

    `call` takes a function that makes an array of a shape and a dtype.
    """

    def kernels():
        found = []

        def record(self, kernel, *_):
            found.append(kernel)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Emulator, "launch", record)
            with emulated(multiprocessors=132):
                call(lambda shape, dtype="f4": EmulatedArray.from_numpy(np.zeros(shape, dtype)))
        return list(dict.fromkeys(found))

    return kernels


def attending(dtype, size, mask=None, stats=False, aligned=True):
    """The kernel of attention for heads of a size."""
    number = "float64" if dtype == "float64" else "float32"
    tiles = tiles_for(number, size, size)
    return lambda: [attention((dtype,) * 3, dtype, tiles, mask, stats, aligned)]


COPIES = ("LDGSTS.E.BYPASS.LTC128B.128", "LDGDEPBAR")
HALVES = (*COPIES, "LDSM.16.M88.4", "HMMA.16816.F32.BF16", "STG.E.128")


def multiplying(instruction, dtype, a_along_k=True, b_along_k=False, width=16):
    """The kernels of products on tensor cores, of every tile in the table."""
    return lambda: [
        tensor_mma.kernel(instruction, dtype, a_along_k, b_along_k, choice.tile, width)
        for choice in launch_tensor_core.TILES[dtype]
    ]


def first_tile(*arguments):
    """The first of them."""
    return lambda: multiplying(*arguments)()[:1]


QUICK = {
    "product bfloat16": Budget(first_tile("bfloat16", "bfloat16"), 255, HALVES),
    "product float64": Budget(
        first_tile("float64", "float64"), 255, (*COPIES, "LDS.64", "DMMA", "STG.E.128"), True
    ),
    "attention float32 64": Budget(attending("float32", 64), 168, WIDE),
    "softmax float32": Budget(
        launched(lambda array: fm.softmax(array((64, 1024)))), 64, ("LDG.E.128", "STG.E.128")
    ),
    "layer_norm float32": Budget(
        launched(lambda array: fm.layer_norm(array((64, 1024)), 1024)),
        64,
        ("LDG.E.128", "STG.E.128"),
    ),
    "matrix_transpose float32": Budget(
        launched(lambda array: fm.matrix_transpose(array((512, 512)))), 64, ("LDG.E", "STG.E")
    ),
    "masked_fill float32": Budget(
        launched(lambda array: fm.masked_fill(array((64, 1024)), array((64, 1024), "?"), 0.0)),
        64,
        ("LDG.E.128", "STG.E.128"),
    ),
}
FULL = {
    "products bfloat16": Budget(multiplying("bfloat16", "bfloat16"), 255, HALVES),
    "products bfloat16, a transposed": Budget(
        multiplying("bfloat16", "bfloat16", False), 255, ("LDSM.16.MT88.4", "HMMA.16816.F32.BF16")
    ),
    "products bfloat16, linear": Budget(
        multiplying("bfloat16", "bfloat16", True, True), 255, HALVES
    ),
    "products float64": Budget(multiplying("float64", "float64"), 255, ("DMMA",), True),
    "products tf32": Budget(
        multiplying("tf32", "float32"), 255, (*COPIES, "LDSM.16.M88.4", "HMMA.1688.F32.TF32")
    ),
    "attention causal": Budget(attending("float32", 64, "causal", True), 168, WIDE),
    "attention bool": Budget(attending("float32", 64, "bool", True), 255, WIDE),
    "attention additive": Budget(attending("float32", 64, "float32"), 255, WIDE),
    "attention float32 128": Budget(attending("float32", 128), 255, WIDE),
    "attention float32 256": Budget(attending("float32", 256), 255, WIDE),
    "attention float32 32": Budget(attending("float32", 32), 168, WIDE[:3]),
    "attention strided": Budget(attending("float32", 64, None, True, False), 168, ("LDS.128",)),
    "attention float64 64": Budget(attending("float64", 64), 255, (*WIDE, "DFMA"), True),
    "attention float64 128": Budget(attending("float64", 128), 255, (*WIDE, "DFMA"), True),
    **{
        f"matrix_transpose {dtype}": Budget(
            launched(lambda array, dtype=dtype: fm.matrix_transpose(array((512, 512), dtype))),
            64,
            ("LDG.E.128", "STG.E.128"),
        )
        for dtype in ("uint8", "float16", "complex128")
    },
    "transpose of a batch": Budget(
        launched(lambda array: fm.transpose(array((8, 64, 4, 64)), (0, 3, 2, 1))),
        64,
        ("LDG.E.128", "STG.E.128"),
    ),
    "transpose of images": Budget(
        launched(lambda array: fm.transpose(array((8, 64, 64, 3)), (0, 3, 1, 2))),
        64,
        ("LDG.E", "STG.E"),
    ),
    "mask_rows_cols float32": Budget(
        launched(
            lambda array: fm.mask_rows_cols(array((64, 1024)), array(64, "?"), array(1024, "?"))
        ),
        64,
        ("LDG.E.128", "STG.E.128"),
    ),
    "take_submatrix float32": Budget(
        launched(lambda array: fm.take_submatrix(array((64, 1024)), [3, 1], None)),
        64,
        ("LDG.E.128", "STG.E.128"),
    ),
}
