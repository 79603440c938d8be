"""Tensor cores and what feeds them: asynchronous copies to shared memory, ldmatrix, mma.sync.

Addresses in shared memory are uint32 numbers of bytes, as PTX counts them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

from fastmat.cuda.intrinsics import _address, _index_type

_I32, _I64, _F32, _F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
_VOID = ir.VoidType()


def _assembly(builder, result, text, constraints, values, ordered=True):
    kind = ir.FunctionType(result, [v.type for v in values])
    return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=ordered), values)


def _command(text, name):
    @intrinsic
    def command(typing_context):
        def emit(context, builder, signature, values):
            _assembly(builder, _VOID, text, "~{memory}", [])
            return context.get_dummy_value()

        return types.void(), emit

    command.__name__ = name
    return command


@intrinsic
def shared_address(typing_context, array):
    """Where the first item of an array in shared memory lies."""

    def emit(context, builder, signature, values):
        zero = ir.Constant(_I32, 0)
        first = _address(context, builder, signature.args[0], values[0], zero)
        return builder.ptrtoint(
            builder.addrspacecast(first, first.type.pointee.as_pointer(3)), _I32
        )

    return types.uint32(array), emit


@functools.cache
def copy_async(size, part=False):
    """``copy(to, source, i)``: `size` bytes (16, 8 or 4) from ``source[i]`` on to shared memory.

    Both addresses are multiples of the size. Of a `part`, ``copy(to, source, i, count)`` reads
    only the first `count` bytes, and writes zeros for the others.
    """
    keep = "cg.shared.global.L2::128B" if size == 16 else "ca.shared.global"
    text = f"cp.async.{keep} [$0], [$1], {size}"

    def start(context, builder, signature, values):
        at = _address(context, builder, signature.args[1], values[1], values[2])
        at = builder.ptrtoint(builder.addrspacecast(at, at.type.pointee.as_pointer(1)), _I64)
        count, letters = (", $2;", "r,l,r") if part else (";", "r,l")
        operands = [values[0], at, *values[3:]]
        _assembly(builder, _VOID, text + count, f"{letters},~{{memory}}", operands)
        return context.get_dummy_value()

    @intrinsic
    def copy(typing_context, to, source, i):
        return types.void(types.uint32, source, _index_type(i)), start

    @intrinsic
    def copy_part(typing_context, to, source, i, count):
        return types.void(types.uint32, source, _index_type(i), types.uint32), start

    return copy_part if part else copy


commit_copies = _command("cp.async.commit_group;", "commit_copies")


@functools.cache
def wait_for_copies(pending):
    """A function that waits for all groups of copies but the latest `pending`."""
    return _command(f"cp.async.wait_group {pending};", f"wait_for_copies_{pending}")


@functools.cache
def load_matrices(count, transposed=False):
    """``load(target, j, address)``: 2 or 4 matrices of 8 x 8 halves to ``target[j:j+count]``.

    `address` of each lane is a row of 16 bytes: lanes 0 to 7 name the first matrix's rows.
    """
    results = ",".join(f"${k}" for k in range(count))
    trans = ".trans" if transposed else ""
    text = f"ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{results}}}, [${count}];"
    constraints = ",".join(["=r"] * count + ["r", "~{memory}"])
    structure = ir.LiteralStructType([_I32] * count)

    @intrinsic
    def load(typing_context, target, j, address):
        def emit(context, builder, signature, values):
            kind = signature.args[0]
            found = _assembly(builder, structure, text, constraints, [values[2]])
            for k in range(count):
                at = builder.add(values[1], ir.Constant(values[1].type, k))
                place = _address(context, builder, kind, values[0], at)
                builder.store(builder.extract_value(found, k), place)
            return context.get_dummy_value()

        return types.void(target, _index_type(j), types.uint32), emit

    return load


@intrinsic
def round_to_tf32(typing_context, bits):
    """The bits of a float32 rounded to the nearest TF32, ties away from zero."""

    def emit(context, builder, signature, values):
        number = builder.bitcast(values[0], _F32)
        return _assembly(builder, _I32, "cvt.rna.tf32.f32 $0, $1;", "=r,f", [number], ordered=False)

    return types.uint32(types.uint32), emit


@functools.cache
def store_pair(dtype):
    """``store(target, i, x, y)``: two numbers by one access; float32 is rounded to `dtype`.

    `target` is aligned to the pair. NaNs stay NaNs.
    """
    words = {"float16": "f16x2", "bfloat16": "bf16x2"}

    @intrinsic
    def store(typing_context, target, i, x, y):
        def emit(context, builder, signature, values):
            at = _address(context, builder, signature.args[0], values[0], values[1])
            if dtype in words:
                text = f"cvt.rn.{words[dtype]}.f32 $0, $1, $2;"
                high_first = [values[3], values[2]]
                run = _assembly(builder, _I32, text, "=r,f,f", high_first, ordered=False)
                size = 4
            else:
                run = ir.Constant(ir.VectorType(values[2].type, 2), ir.Undefined)
                for k in range(2):
                    run = builder.insert_element(run, values[2 + k], ir.Constant(_I32, k))
                size = 16 if dtype == "float64" else 8
            builder.store(run, builder.bitcast(at, run.type.as_pointer()), align=size)
            return context.get_dummy_value()

        return types.void(target, _index_type(i), x, y), emit

    return store


@intrinsic
def move_run(typing_context, target, i, source, j):
    """16 bytes from ``source[j]`` on to ``target[i]``; both at multiples of 16 bytes."""

    def emit(context, builder, signature, values):
        kinds = signature.args
        words = ir.VectorType(_I32, 4).as_pointer()
        read = _address(context, builder, kinds[2], values[2], values[3])
        written = _address(context, builder, kinds[0], values[0], values[1])
        run = builder.load(builder.bitcast(read, words), align=16)
        builder.store(run, builder.bitcast(written, words), align=16)
        return context.get_dummy_value()

    return types.void(target, _index_type(i), source, _index_type(j)), emit


class Shape(NamedTuple):
    """Of a product: rows of a, depth, and the registers of a thread for a, b and c."""

    rows: int
    depth: int
    of_a: int
    of_b: int
    of_c: int


_SHAPES = {
    "float16": Shape(16, 16, 4, 2, 4),
    "bfloat16": Shape(16, 16, 4, 2, 4),
    "tf32": Shape(16, 8, 4, 2, 4),
    "float64": Shape(8, 4, 1, 1, 2),
    "float64 k4": Shape(16, 4, 2, 1, 4),
    "float64 k8": Shape(16, 8, 4, 2, 4),
    "float64 k16": Shape(16, 16, 8, 4, 4),
}
_IN_PTX = {"float16": "f16", "bfloat16": "bf16", "tf32": "tf32"}


def shape_of(instruction: str) -> Shape:
    """The shape of a product."""
    return _SHAPES[instruction]


@functools.cache
def multiply_fragments(instruction, rows, columns):
    """``multiply(c, a, i, b, j)``: adds `rows` x `columns` products to the fragments in `c`.

    The fragments of `a` begin at ``a[i]`` and those of `b` at ``b[j]``.
    """
    height, depth, of_a, of_b, of_c = _SHAPES[instruction]
    double = instruction.startswith("float64")
    factors = _IN_PTX.get(instruction, "f64")
    total = "f64" if double else "f32"
    number, letter, factor = (_F64, "d", "d") if double else (_F32, "f", "r")
    numbering = iter(range(of_c + of_a + of_b + of_c))
    groups = [
        "{" + ",".join(f"${next(numbering)}" for _ in range(count)) + "}"
        for count in (of_c, of_a, of_b, of_c)
    ]
    kinds = f"{total}.{factors}.{factors}.{total}"
    text = f"mma.sync.aligned.m{height}n8k{depth}.row.col.{kinds} {', '.join(groups)};"
    constraints = ",".join([f"={letter}"] * of_c + [factor] * (of_a + of_b) + [letter] * of_c)
    structure = ir.LiteralStructType([number] * of_c)

    @intrinsic
    def multiply(typing_context, c, a, i, b, j):
        def emit(context, builder, signature, values):
            kinds = signature.args

            def places(array, first, offset, count):
                for k in range(offset, offset + count):
                    at = ir.Constant(_I32, k)
                    if first is not None:
                        at = builder.add(values[first], ir.Constant(values[first].type, k))
                    yield _address(context, builder, kinds[array], values[array], at)

            left = [builder.load(p) for p in places(1, 2, 0, rows * of_a)]
            right = [builder.load(p) for p in places(3, 4, 0, columns * of_b)]
            for row in range(rows):
                # Back and forth: a register of b stays where it is at each turn.
                for step in range(columns):
                    column = columns - 1 - step if row % 2 else step
                    out = list(places(0, None, (row * columns + column) * of_c, of_c))
                    factors = left[row * of_a : (row + 1) * of_a]
                    factors += right[column * of_b : (column + 1) * of_b]
                    terms = [builder.load(p) for p in out]
                    found = _assembly(builder, structure, text, constraints, factors + terms, False)
                    for k in range(of_c):
                        builder.store(builder.extract_value(found, k), out[k])
            return context.get_dummy_value()

        return types.void(c, a, _index_type(i), b, _index_type(j)), emit

    return multiply
