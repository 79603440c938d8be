"""Budgets on the machine code of kernels for GPUs: which instructions, how many registers.

A budget names kernels as their factories do, or by a public call that launches them.
"""

import contextlib

import numpy as np
import pytest
from machine_code import Budget

pytest.importorskip("numba_cuda")

from cuda_emulator import EmulatedArray, Emulator, emulated
from oracles import BFLOAT16

import fastmat as fm
from fastmat.cuda import (
    gram,
    gram_tensor,
    launch_tensor_core,
    qr_tall,
    random,
    tensor_core,
    tensor_mma,
)
from fastmat.cuda.arrays import view
from fastmat.cuda.attention import attention
from fastmat.cuda.attention_halves import attention_of_halves
from fastmat.cuda.attention_vjp import attention_vjp
from fastmat.cuda.launch_attention import tiles_for, walk_for
from fastmat.cuda.launch_attention_halves import warps_for

WIDE = ("LDG.E.128", "LDS.128", "STS.128", "STG.E.128")
THROUGH = ("LDG.E.128", "STG.E.128")  # of what reads and writes each number once
# What feeds tensor cores: copies to shared memory that need no registers, ldmatrix.
FED = ("LDGSTS.E.BYPASS.LTC128B.128|LDGSTS.E.BYPASS.128|UTMALDG", "LDSM|HGMMA")
HALF = "float16"


def launched(call):
    """The kernels that a call launches on a GPU with 132 multiprocessors; they do not run.

    `call` takes a function that makes an array of a shape and a dtype.
    """

    def kernels(capability):
        found = []

        def record(self, kernel, *_):
            found.append(kernel)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Emulator, "launch", record)
            with emulated(capability, multiprocessors=132):
                call(lambda shape, dtype="f4": EmulatedArray.from_numpy(np.zeros(shape, dtype)))
        return list(dict.fromkeys(found))

    return kernels


def attending(dtype, size, mask=None, stats=False, aligned=True):
    """The kernel of attention for heads of a size."""
    number = "float64" if dtype == "float64" else "float32"
    tiles = tiles_for(number, size, size)
    return lambda _: [attention((dtype,) * 3, dtype, tiles, mask, stats, aligned)]


def attending_halves(dtype, size, mask=None, stats=False):
    """The kernel of attention on tensor cores."""
    return lambda _: [attention_of_halves(dtype, warps_for(size, size, mask), mask, stats)]


def gradients(dtype, size, by_keys, mask=None, aligned=True):
    """A kernel of the gradients of attention."""
    number = "float64" if dtype == "float64" else "float32"
    walk = walk_for(number, size, size, mask)
    outs = (dtype,) * (1 + by_keys)
    return lambda _: [attention_vjp(dtype, outs, walk, mask, by_keys, aligned)]


def multiplying(dtype, n=2048, **keywords):
    """The kernels of a product of square matrices."""
    return launched(lambda array: fm.matmul(array((n, n), dtype), array((n, n), dtype), **keywords))


def on_tensor_cores(dtype, n=2048, precision=None):
    """The kernels of a product of square matrices on tensor cores."""

    def call(array):
        operands = [view(array((n, n), dtype), name) for name in ("a", "b", "c")]
        assert tensor_core.product(*operands, 0, precision=precision)

    return launched(call)


def by_rows(function, *arguments, dtype="f4", **keywords):
    """The kernels of a function of rows."""
    return launched(lambda array: function(array((64, 1024), dtype), *arguments, **keywords))


def reducing(op, axis):
    """The kernels of a masked reduction."""

    def call(array):
        x, mask = array((4096, 1024)), array((4096, 1024), "?")
        with contextlib.suppress(ValueError):  # which says that nothing was valid
            getattr(fm, f"masked_{op}")(x, mask, axis)

    return launched(call)


COPIES = ("LDGSTS.E.BYPASS.LTC128B.128", "LDGDEPBAR")
HALVES = (*COPIES, "LDSM.16.M88.4", "HMMA.16816.F32.BF16", "STG.E.128")


def of_tiles(instruction, dtype, a_along_k=True, b_along_k=False, width=16):
    """The kernels of products on tensor cores, of every tile in the table."""
    return lambda _: [
        tensor_mma.kernel(instruction, dtype, a_along_k, b_along_k, choice.tile, width)
        for choice in launch_tensor_core.TILES[dtype]
    ]


def first_tile(*arguments):
    """The first of them."""
    return lambda _: of_tiles(*arguments)(None)[:1]


def drawing(kind, dtype):
    """The kernel of random numbers that follow each other, aligned."""
    return lambda _: [random.flat(kind, dtype, True)]


def of_tall_matrices(dtype):
    """The kernels of a QR decomposition; those of single precision compute in double, too."""
    wide = gram.WIDE[dtype]
    return lambda _: [
        gram.tiles(dtype),
        qr_tall.subtract(wide),
        qr_tall.solve_rows(dtype, dtype),
        qr_tall.solve_rows(wide, wide),
    ]


def of_gram_matrices(dtype, *runs):
    """The kernels of Gram matrices on tensor cores that read `runs` of a row, or of a column."""
    return lambda capability: [
        gram_tensor.tiles(dtype, launch_tensor_core.DOUBLES[capability], *run, diagonal)
        for run in runs
        for diagonal in (False, True)
    ]


ALONG_ROWS, ALONG_COLUMNS = (4, False), (4, True)  # 16 bytes of float32
PAIRS, PAIRS_DOWN, SCALARS = (2, False), (2, True), (1, False)
FRAGMENTS = ("DMMA", "LDS.128")
QUICK = {
    "attention float32 64": Budget(attending("float32", 64), 168, WIDE),
    "attention float16 64": Budget(attending_halves(HALF, 64), 255, ("HMMA", *FED)),
    "softmax float32": Budget(by_rows(fm.softmax), 64, THROUGH),
    "layer_norm float32": Budget(by_rows(fm.layer_norm, 1024), 64, THROUGH),
    "matrix_transpose float32": Budget(
        launched(lambda array: fm.matrix_transpose(array((512, 512)))), 64, ("LDG.E", "STG.E")
    ),
    "matmul float32": Budget(multiplying("f4"), 255, ("FFMA", *WIDE)),
    "product float16": Budget(on_tensor_cores("f2"), 255, ("HMMA|HGMMA", *FED)),
    "first tile of bfloat16": Budget(first_tile("bfloat16", "bfloat16"), 255, HALVES),
    "first tile of float64": Budget(
        first_tile("float64", "float64"), 255, (*COPIES, "LDS.64", "DMMA", "STG.E.128"), True
    ),
    "gram float32": Budget(
        of_gram_matrices("float32", ALONG_ROWS),
        168,
        (*FRAGMENTS, "LDG.E.128", "STS.128", "STG.E.128"),
        True,
    ),
    "normal float32": Budget(drawing("normal", "float32"), 64, ("MUFU.RSQ", "STG.E.128")),
    "masked_fill float32": Budget(
        launched(lambda array: fm.masked_fill(array((64, 1024)), array((64, 1024), "?"), 0.0)),
        64,
        ("LDG.E.128", "STG.E.128"),
    ),
}
FULL = {
    "linear float32": Budget(
        launched(lambda array: fm.linear(array((4096, 512)), array((4096, 512)))),
        128,
        ("LDG.E.128", "LDS.128", "STG.E.128", "FFMA"),
    ),
    "matvec float32": Budget(
        launched(lambda array: fm.matvec(array((4096, 4096)), array(4096))),
        128,
        ("LDG.E.128",),
        only="matvec",
    ),
    "vecmat float32": Budget(
        launched(lambda array: fm.vecmat(array(4096), array((4096, 4096)))),
        128,
        ("LDG.E.128",),
        only="matvec",
    ),
    **{
        f"random {kind} {dtype}": Budget(
            drawing(kind, dtype), 64, ("IMAD.WIDE.U32", "STG.E.128"), dtype == "float64"
        )
        for kind, dtype in (
            ("uniform", "float32"),
            ("uniform", "float64"),
            ("normal", "float64"),
            ("integers", "int8"),
            ("integers", "int64"),
            ("rademacher", "float16"),
            ("rademacher", "complex64"),
        )
    },
    **{
        f"qr_tall {dtype}": Budget(of_tall_matrices(dtype), 168, ("DFMA",), True)
        for dtype in ("float32", "float64", "complex64")
    },
    "gram float32, columns contiguous": Budget(
        of_gram_matrices("float32", ALONG_COLUMNS, PAIRS_DOWN),
        168,
        (*FRAGMENTS, "LDG.E.128|LDG.E.64"),
        True,
    ),
    "gram float32, pairs": Budget(
        of_gram_matrices("float32", PAIRS), 168, (*FRAGMENTS, "LDG.E.64", "STS.128"), True
    ),
    "gram float64": Budget(
        of_gram_matrices("float64", PAIRS, PAIRS_DOWN), 168, (*FRAGMENTS, "LDG.E.128"), True
    ),
    "gram of strided matrices": Budget(
        lambda capability: [
            kernel
            for dtype in ("float32", "float64")
            for kernel in of_gram_matrices(dtype, SCALARS)(capability)
        ],
        255,
        FRAGMENTS,
        True,
    ),
    "gram, pieces added up": Budget(
        lambda _: [
            gram.add_up(*dtypes)
            for dtypes in (
                ("float64", "float32"),
                ("float64", "float64"),
                ("complex128", "complex128"),
            )
        ],
        64,
        ("DADD",),
        True,
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
    "attention causal halves": Budget(
        attending_halves("bfloat16", 64, "causal", True), 255, ("HMMA", *FED)
    ),
    "attention bool halves": Budget(attending_halves(HALF, 64, "bool"), 255, ("HMMA", *FED)),
    "attention additive halves": Budget(attending_halves(HALF, 64, HALF), 255, ("HMMA", *FED)),
    "attention halves 32": Budget(attending_halves(HALF, 32), 255, ("HMMA", *FED)),
    "attention halves 128": Budget(attending_halves(HALF, 128), 255, ("HMMA", *FED)),
    "attention halves 256": Budget(attending_halves(HALF, 256), 255, ("HMMA", *FED)),
    "attention by queries": Budget(gradients("float32", 64, False), 255, WIDE),
    "attention by keys": Budget(gradients("float32", 64, True), 255, WIDE),
    "attention by queries 128": Budget(gradients("float32", 128, False), 255, WIDE),
    "attention by keys 128": Budget(gradients("float32", 128, True), 255, WIDE),
    "attention by keys causal": Budget(gradients("float32", 64, True, "causal"), 255, WIDE),
    "attention by keys bool": Budget(gradients("float32", 64, True, "bool"), 255, WIDE),
    "attention by keys float64": Budget(gradients("float64", 64, True), 255, (*WIDE, "DFMA"), True),
    "product bfloat16": Budget(on_tensor_cores(BFLOAT16), 255, ("HMMA|HGMMA", *FED)),
    "product tf32": Budget(on_tensor_cores("f4", precision="tf32"), 255, ("HMMA", *FED)),
    "product float64": Budget(on_tensor_cores("f8"), 255, ("DMMA", FED[0]), True),
    "matmul float64": Budget(multiplying("f8"), 255, ("DMMA|DFMA",), True),
    "matmul tropical": Budget(multiplying("f4", semiring="min_plus"), 255, WIDE, stack=8),
    "matmul int32": Budget(multiplying("i4"), 255, ("IMAD", *WIDE)),
    "softmax float16": Budget(by_rows(fm.softmax, dtype="f2"), 64, THROUGH),
    "logsumexp float32": Budget(by_rows(fm.logsumexp), 64, ("LDG.E.128",), True),
    "masked_max of rows": Budget(
        reducing("max", 1), 64, ("LDG.E.128", "FMNMX.NAN"), only="reduced"
    ),
    "masked_argmin of rows": Budget(
        reducing("argmin", 1), 64, ("LDG.E.128", "FMNMX.NAN"), only="reduced"
    ),
    "masked_var of rows": Budget(reducing("var", 1), 64, ("LDG.E.128",), only="reduced"),
    "masked_max of columns": Budget(reducing("max", 0), 64, ("FMNMX.NAN",), only="reduced_parts"),
    "softmax bfloat16": Budget(
        by_rows(fm.softmax, dtype=BFLOAT16), 64, (*THROUGH, "F2FP.BF16.F32|F2FP.BF16")
    ),
    "rms_norm float32": Budget(by_rows(fm.rms_norm, 1024), 64, THROUGH),
    "products bfloat16": Budget(of_tiles("bfloat16", "bfloat16"), 255, HALVES),
    "products bfloat16, a transposed": Budget(
        of_tiles("bfloat16", "bfloat16", False), 255, ("LDSM.16.MT88.4", "HMMA.16816.F32.BF16")
    ),
    "products bfloat16, linear": Budget(of_tiles("bfloat16", "bfloat16", True, True), 255, HALVES),
    "products float64": Budget(of_tiles("float64", "float64"), 255, ("DMMA",), True),
    "products tf32": Budget(
        of_tiles("tf32", "float32"), 255, (*COPIES, "LDSM.16.M88.4", "HMMA.1688.F32.TF32")
    ),
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
    **{
        f"masked_{op}_vjp float32": Budget(
            launched(
                lambda array, op=op: getattr(fm, f"masked_{op}_vjp")(
                    array(64), array((64, 1024)), array((64, 1024), "?"), -1
                )
            ),
            64,
            THROUGH if op == "std" else THROUGH[1:],  # the mean does not depend on the numbers
        )
        for op in ("mean", "std")
    },
    "masked_max_vjp float32": Budget(
        launched(
            lambda array: fm.masked_max_vjp(
                array(64), array((64, 1024)), array((64, 1024), "?"), array(64), -1
            )
        ),
        64,
        THROUGH,
    ),
}
