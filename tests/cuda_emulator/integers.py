"""Arithmetic with wide integers, for which libdevice has inline PTX of many instructions."""

from __future__ import annotations

_LAST = "mov.b64 $1, {r2,r3}; }"


def body(text: str) -> list[str] | None:
    """The body of a function for inline PTX, with %0, %1, ... for arguments; None if unknown."""
    if text == "{ mad.lo.cc.u32 $0, $2, $3, $4; madc.hi.u32 $1, $2, $3, 0; }":
        return _product(32, 3)
    if text.startswith("{ .reg .u32 r0, r1, r2, r3, ") and text.endswith(_LAST):
        if " alo, ahi, blo, bhi, clo, chi;" in text:
            return _product(64, 3)
        if " alo, ahi, blo, bhi;" in text:
            return _product(64, 2)
        for operation in ("add", "sub"):
            if f" {operation}.cc.u32 r0, a0, b0;" in text:
                return _sum(operation)
    if text == "add.s64 $0, $1, $2":
        return ["%r = add i64 %0, %1", "ret i64 %r"]
    if text == "bfind.shiftamt.u32 $0, $1":
        return [
            "%n = call i32 @llvm.ctlz.i32(i32 %0, i1 false)",
            "%zero = icmp eq i32 %0, 0",
            "%r = select i1 %zero, i32 -1, i32 %n",
            "ret i32 %r",
        ]
    if "setp.equ.f64 __$$temp3, $1, $2;" in text:
        return [
            "%equal = fcmp ueq double %0, %1",
            "%r = select i1 %equal, double %2, double %3",
            "ret double %r",
        ]
    return None


def _halves(value: str, bits: int) -> list[str]:
    """Return the lower and the upper half of an integer."""
    one, two = f"i{bits}", f"i{2 * bits}"
    both = f"{{ {one}, {one} }}"
    return [
        f"%low = trunc {two} {value} to {one}",
        f"%shifted = lshr {two} {value}, {bits}",
        f"%high = trunc {two} %shifted to {one}",
        f"%first = insertvalue {both} poison, {one} %low, 0",
        f"%second = insertvalue {both} %first, {one} %high, 1",
        f"ret {both} %second",
    ]


def _product(bits: int, count: int) -> list[str]:
    """The product of two integers, plus a third if there is one."""
    one, two = f"i{bits}", f"i{2 * bits}"
    lines = [f"%x{i} = zext {one} %{i} to {two}" for i in range(count)]
    lines.append(f"%product = mul {two} %x0, %x1")
    lines.append(f"%sum = add {two} %product, {'%x2' if count == 3 else '0'}")
    return lines + _halves("%sum", bits)


def _sum(operation: str) -> list[str]:
    """The sum or difference of integers of 128 bits."""
    lines = [f"%x{i} = zext i64 %{i} to i128" for i in range(4)]
    for name, i in (("a", 0), ("b", 2)):
        lines.append(f"%{name}.high = shl i128 %x{i + 1}, 64")
        lines.append(f"%{name} = or i128 %{name}.high, %x{i}")
    return [*lines, f"%r = {operation} i128 %a, %b", *_halves("%r", 64)]
