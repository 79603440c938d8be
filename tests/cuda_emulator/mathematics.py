"""Arithmetic of the GPU in the host's LLVM: NVVM's intrinsics, and inline PTX that computes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cuda_emulator import integers

_FLOAT = {"f": "float", "d": "double"}
_INTEGER = {"i": ("i32", "s"), "ui": ("i32", "u"), "ll": ("i64", "s"), "ull": ("i64", "u")}
_ROUND = {"rn": "roundeven", "rm": "floor", "rp": "ceil", "rz": "trunc"}


def _suffix(kind: str) -> str:
    return {"float": "f32", "double": "f64"}.get(kind, kind)


def _call(function: str, kind: str, *values: str) -> str:
    values_text = ", ".join(f"{kind} {v}" for v in values)
    return f"call {kind} @llvm.{function}.{_suffix(kind)}({values_text})"


def _body(kind: str, *steps: str) -> list[str]:
    """Steps whose values are named %r0, %r1, ...; the last is returned."""
    lines = [f"%r{i} = {step}" for i, step in enumerate(steps)]
    return [*lines, f"ret {kind} %r{len(steps) - 1}"]


def _one_over(kind: str, value: str) -> str:
    return f"fdiv {kind} 1.0, {value}"


# Rounded to float64 first, which is exact enough for all but ties beyond 53 bits.
_FMA_DOWN = [
    *(f"%w{i} = fpext float %{i} to double" for i in range(3)),
    "%wide = call double @llvm.fma.f64(double %w0, double %w1, double %w2)",
    "%near = fptrunc double %wide to float",
    "%back = fpext float %near to double",
    "%above = fcmp ogt double %back, %wide",
    "%positive = fcmp ogt float %near, 0.0",
    "%step = select i1 %positive, i32 -1, i32 1",
    "%bits = bitcast float %near to i32",
    "%next = add i32 %bits, %step",
    "%chosen = select i1 %above, i32 %next, i32 %bits",
    "%result = bitcast i32 %chosen to float",
    "ret float %result",
]


def _arithmetic(name: str) -> list[str] | None:
    """The body of one of NVVM's arithmetic intrinsics; %0, %1 and %2 are its arguments."""
    name = name.replace(".ftz", "").replace(".f32", ".f").replace(".f64", ".d")
    if found := re.fullmatch(r"(add|sub|mul|div)\.(?:rn|approx|full)\.([fd])", name):
        kind = _FLOAT[found[2]]
        return _body(kind, f"f{found[1]} {kind} %0, %1")
    if found := re.fullmatch(r"(add|sub|mul|fma)\.(rz|rm|rp)\.f", name):
        return _directed(found[1], found[2])
    if found := re.fullmatch(r"fma\.rn\.([fd])", name):
        return _body(_FLOAT[found[1]], _call("fma", _FLOAT[found[1]], "%0", "%1", "%2"))
    if name == "fma.rm.f":
        return _FMA_DOWN
    if found := re.fullmatch(
        r"(sqrt|rcp|rsqrt|ex2|lg2|sin|cos|tanh)(?:\.rn|\.approx)?\.([fd])", name
    ):
        kind = _FLOAT[found[2]]
        if found[1] == "rcp":
            return _body(kind, _one_over(kind, "%0"))
        if found[1] == "rsqrt":
            return _body(kind, _call("sqrt", kind, "%0"), _one_over(kind, "%r0"))
        function = {"ex2": "exp2", "lg2": "log2"}.get(found[1], found[1])
        return _body(kind, _call(function, kind, "%0"))
    if found := re.fullmatch(r"(fabs|trunc|floor|ceil|round)\.([fd])", name):
        return _body(
            _FLOAT[found[2]],
            _call({"round": "roundeven"}.get(found[1], found[1]), _FLOAT[found[2]], "%0"),
        )
    if found := re.fullmatch(r"f?(min|max)(\.nan|\.NaN)?\.([fd])", name):
        function = found[1] + ("imum" if found[2] else "num")
        return _body(_FLOAT[found[3]], _call(function, _FLOAT[found[3]], "%0", "%1"))
    if found := re.fullmatch(r"saturate\.([fd])", name):
        kind = _FLOAT[found[1]]
        low = _call("maxnum", kind, "%0", "0.0")  # NaN becomes 0
        return _body(kind, low, _call("minnum", kind, "%r0", "1.0"))
    if found := re.fullmatch(r"([fd])2(i|ui|ll|ull)\.(rn|rz|rm|rp)", name):
        kind, (integer, sign) = _FLOAT[found[1]], _INTEGER[found[2]]
        convert = f"call {integer} @llvm.fpto{sign}i.sat.{integer}.{_suffix(kind)}({kind} %r0)"
        return _body(integer, _call(_ROUND[found[3]], kind, "%0"), convert)
    if found := re.fullmatch(r"(i|ui|ll|ull)2([fd])\.rn", name):
        integer, sign = _INTEGER[found[1]]
        return _body(_FLOAT[found[2]], f"{sign}itofp {integer} %0 to {_FLOAT[found[2]]}")
    if name == "d2f.rn":
        return _body("float", "fptrunc double %0 to float")
    if name == "f2h.rn":
        return _body("i16", "fptrunc float %0 to half", "bitcast half %r0 to i16")
    if name in ("d2i.hi", "d2i.lo"):
        shift = 32 if name == "d2i.hi" else 0
        return _body(
            "i32", "bitcast double %0 to i64", f"lshr i64 %r0, {shift}", "trunc i64 %r1 to i32"
        )
    if name == "lohi.i2d":
        return _body(
            "double", "zext i32 %0 to i64", "zext i32 %1 to i64", "shl i64 %r1, 32",
            "or i64 %r0, %r2", "bitcast i64 %r3 to double",
        )  # fmt: skip
    if found := re.fullmatch(r"mulhi\.(i|ui|ll|ull)", name):
        integer, sign = _INTEGER[found[1]]
        bits = int(integer[1:])
        wide, extend = f"i{2 * bits}", {"s": "sext", "u": "zext"}[sign]
        return _body(
            integer, f"{extend} {integer} %0 to {wide}", f"{extend} {integer} %1 to {wide}",
            f"mul {wide} %r0, %r1", f"lshr {wide} %r2, {bits}", f"trunc {wide} %r3 to {integer}",
        )  # fmt: skip
    return None


def _directed(operation: str, mode: str) -> list[str]:
    """A float32 operation rounded towards zero (rz), down (rm) or up (rp).

    The result in float64, which is exact for all but far-apart operands, is rounded to the nearest
    float32, and moved by a unit in the last place if that is on the wrong side.
    """
    count = 3 if operation == "fma" else 2
    wide = [f"%w{i} = fpext float %{i} to double" for i in range(count)]
    exact = (
        "call double @llvm.fma.f64(double %w0, double %w1, double %w2)"
        if operation == "fma"
        else f"f{operation} double %w0, %w1"
    )
    wrong = {
        "rz": ["%big = fcmp ogt double %back.size, %exact.size"],
        "rm": ["%big = fcmp ogt double %back, %exact"],
        "rp": ["%big = fcmp olt double %back, %exact"],
    }[mode]
    # Towards zero the bits get smaller; away from it they get larger.
    towards = {"rz": "true", "rm": "%positive", "rp": "%negative"}[mode]
    return [
        *wide,
        f"%exact = {exact}",
        "%near = fptrunc double %exact to float",
        "%back = fpext float %near to double",
        "%exact.size = call double @llvm.fabs.f64(double %exact)",
        "%back.size = call double @llvm.fabs.f64(double %back)",
        *wrong,
        "%positive = fcmp ogt float %near, 0.0",
        "%negative = fcmp olt float %near, 0.0",
        "%bits = bitcast float %near to i32",
        f"%step = select i1 {towards}, i32 -1, i32 1",
        "%moved = add i32 %bits, %step",
        "%zero = fcmp oeq float %near, 0.0",
        f"%beside = select i1 %zero, i32 {-(2**31) + 1 if mode == 'rm' else 1}, i32 %moved",
        "%other = bitcast i32 %beside to float",
        "%result = select i1 %big, float %other, float %near",
        "ret float %result",
    ]


def intrinsic(name: str, returned: str, arguments: Iterable[str]) -> str | None:
    """A definition of one of NVVM's arithmetic intrinsics; None if it is none of them."""
    body = _arithmetic(name.removeprefix("nvvm."))
    return None if body is None else _definition(name, returned, arguments, body)


def _definition(name: str, returned: str, arguments: Iterable[str], body: list[str]) -> str:
    parameters = ", ".join(f"{a} %{i}" for i, a in enumerate(arguments))
    # Arguments without names are %0, %1, ..., and so would be the first block.
    lines = "\n  ".join(body)
    return (
        f"define internal {returned} @{name}({parameters}) alwaysinline {{\nstart:\n  {lines}\n}}"
    )


_TF32 = [
    "%bits = bitcast float %0 to i32",
    "%special = and i32 %bits, 2139095040",
    "%finite = icmp ne i32 %special, 2139095040",
    "%up = add i32 %bits, 4096",  # ties away from zero
    "%some = select i1 %finite, i32 %up, i32 %bits",
    "%rounded = and i32 %some, -8192",
]


def _half(value: str, kind: str, result: str) -> list[str]:
    """Round a float to the bits of a float16 or bfloat16."""
    if kind == "f16":
        return [
            f"%{result}.half = fptrunc float {value} to half",
            f"%{result} = bitcast half %{result}.half to i16",
        ]
    return [
        f"%{result}.bits = bitcast float {value} to i32",
        f"%{result}.nan = fcmp uno float {value}, {value}",
        f"%{result}.high = lshr i32 %{result}.bits, 16",
        f"%{result}.odd = and i32 %{result}.high, 1",
        f"%{result}.bias = add i32 %{result}.odd, 32767",
        f"%{result}.sum = add i32 %{result}.bits, %{result}.bias",
        f"%{result}.kept = lshr i32 %{result}.sum, 16",
        f"%{result}.some = select i1 %{result}.nan, i32 32767, i32 %{result}.kept",
        f"%{result} = trunc i32 %{result}.some to i16",
    ]


def assembly(name: str, text: str, returned: str, arguments: list[str]) -> str | None:
    """A function that does what arithmetic in inline PTX does; None if it is unknown here."""
    text = re.sub(r"\s+", " ", text).strip().rstrip(";")
    body = integers.body(text)
    if body is not None:
        return _definition(name, returned, arguments, body)
    opcode, _, operands = text.partition(" ")
    if operands.replace(" ", "") != ",".join(f"${i}" for i in range(len(arguments) + 1)):
        return None
    if opcode == "cvt.rna.tf32.f32" and arguments in (["float"], ["i32"]):
        body = list(_TF32)
        if arguments == ["i32"]:
            body[0] = "%bits = add i32 %0, 0"
        if returned == "float":
            body += ["%result = bitcast i32 %rounded to float", "ret float %result"]
        else:
            body += ["ret i32 %rounded"]
        return _definition(name, returned, arguments, body)
    if found := re.fullmatch(r"cvt\.rn\.(bf16|f16)\.f32", opcode):
        return _definition(name, returned, arguments, [*_half("%0", found[1], "r"), "ret i16 %r"])
    if found := re.fullmatch(r"cvt\.rn\.(bf16|f16)x2\.f32", opcode):
        body = [
            *_half("%0", found[1], "upper"),
            *_half("%1", found[1], "lower"),
            "%wide = zext i16 %upper to i32",
            "%shifted = shl i32 %wide, 16",
            "%low = zext i16 %lower to i32",
            "%r = or i32 %shifted, %low",
            "ret i32 %r",
        ]
        return _definition(name, returned, arguments, body)
    body = _arithmetic(opcode) if opcode[-4:] in (".f32", ".f64") else None
    return None if body is None else _definition(name, returned, arguments, body)
