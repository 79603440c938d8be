"""Every access of memory, checked: within what the kernel may use, and aligned.

A check compares the address with the range that the same access hit last time; only if it is
outside does it look into the table of all ranges.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cuda_emulator.machine import MAIL, RANGE_COUNT, RANGES
from cuda_emulator.operations import FAULT
from cuda_emulator.text import split, take_type

RANGE_WORDS = 3  # first address, the one after the last, whether it may be written
SITE_WORDS = 2

_CHECKS = """
@emu_sites = global [{words} x i64] zeroinitializer, align 16

define internal void @emu_check(ptr %p, i64 %size, i64 %mask, i64 %written, i64 %number)
    alwaysinline {{
start:
  %place = mul i64 %number, {site_words}
  %site = getelementptr i64, ptr @emu_sites, i64 %place
  %end = getelementptr i64, ptr %site, i64 1
  %address = ptrtoint ptr %p to i64
  %low = load i64, ptr %site
  %limit = load i64, ptr %end
  %offset = sub i64 %address, %low
  %inside = icmp ule i64 %offset, %limit
  %odd = and i64 %address, %mask
  %aligned = icmp eq i64 %odd, 0
  %good = and i1 %inside, %aligned
  br i1 %good, label %done, label %search, !prof !{{!"branch_weights", i32 2000, i32 1}}
search:
  call void @emu_search(i64 %address, i64 %size, i64 %mask, i64 %written, i64 %number)
  br label %done
done:
  ret void
}}

define internal void @emu_check_run(ptr %p, i64 %size, i64 %mask, i64 %written, i64 %number) {{
start:
  %none = icmp eq i64 %size, 0
  br i1 %none, label %done, label %search
search:
  %address = ptrtoint ptr %p to i64
  call void @emu_search(i64 %address, i64 %size, i64 %mask, i64 %written, i64 %number)
  br label %done
done:
  ret void
}}

define void @emu_search(i64 %address, i64 %size, i64 %mask, i64 %written, i64 %number)
    noinline cold {{
start:
  %table = load ptr, ptr getelementptr (i64, ptr @emu_state, i64 {ranges})
  %count = load i64, ptr getelementptr (i64, ptr @emu_state, i64 {range_count})
  %last = add i64 %address, %size
  %odd = and i64 %address, %mask
  %aligned = icmp eq i64 %odd, 0
  br i1 %aligned, label %next, label %fault
next:
  %i = phi i64 [ 0, %start ], [ %i1, %other ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %look, label %fault
look:
  %i3 = mul i64 %i, {range_words}
  %r = getelementptr i64, ptr %table, i64 %i3
  %r1 = getelementptr i64, ptr %r, i64 1
  %r2 = getelementptr i64, ptr %r, i64 2
  %low = load i64, ptr %r
  %high = load i64, ptr %r1
  %writable = load i64, ptr %r2
  %above = icmp uge i64 %address, %low
  %below = icmp ule i64 %last, %high
  %allowed = icmp uge i64 %writable, %written
  %within = and i1 %above, %below
  %good = and i1 %within, %allowed
  br i1 %good, label %found, label %other
other:
  %i1 = add i64 %i, 1
  br label %next
found:
  %place = mul i64 %number, {site_words}
  %site = getelementptr i64, ptr @emu_sites, i64 %place
  %end = getelementptr i64, ptr %site, i64 1
  %length = sub i64 %high, %low
  %limit = sub i64 %length, %size
  store i64 %low, ptr %site
  store i64 %limit, ptr %end
  ret void
fault:
  %mail = load ptr, ptr getelementptr (i64, ptr @emu_state, i64 {mail})
  store i64 {fault}, ptr %mail
  %m1 = getelementptr i64, ptr %mail, i64 1
  store i64 %number, ptr %m1
  %m2 = getelementptr i64, ptr %mail, i64 2
  store i64 %address, ptr %m2
  %m3 = getelementptr i64, ptr %mail, i64 3
  store i64 %size, ptr %m3
  %m4 = getelementptr i64, ptr %mail, i64 4
  store i64 %mask, ptr %m4
  %m5 = getelementptr i64, ptr %mail, i64 5
  store i64 %written, ptr %m5
  call void @emu_yield()
  unreachable
}}
"""


class _Access(NamedTuple):
    kind: str  # type
    pointer: str
    written: bool
    aligned: int
    what: str


_VALUE = re.compile(r"(?<![\w.])(%|@|getelementptr|inttoptr|addrspacecast|null|poison|undef).*$")
_COPIES = re.compile(r"call void @llvm\.(memcpy|memmove|memset)\.[\w.]+\((.*)\)")


def _access(line: str) -> _Access | None:
    """The load or store, atomic or not, on a line."""
    text = re.sub(r"\b(volatile|syncscope\([^)]*\)) ", "", line.strip())
    text = re.sub(r"\b(load|store) atomic ", r"\1 ", text)
    instruction = text.split(" = ", 1)[-1] if text.startswith("%") else text
    word, _, rest = instruction.partition(" ")
    if word not in ("load", "store", "atomicrmw", "cmpxchg"):
        return None
    parts = split(rest)
    (align,) = [int(p.split()[1]) for p in parts if p.startswith("align ")]
    if word == "load":
        return _Access(parts[0], parts[1], False, align, f"load of {parts[0]}")
    if word == "store":
        kind, _ = take_type(parts[0])
        return _Access(kind, parts[1], True, align, f"store of {kind}")
    kind, _ = take_type(parts[1])
    pointer = parts[0] if word == "cmpxchg" else parts[0].split(" ", 1)[1]
    return _Access(kind, pointer, True, align, f"atomic access of {kind}")


def instrument(text: str) -> tuple[str, list[str]]:
    """The module with a check before every access; and what each site is."""
    lines: list[str] = []
    sites: list[str] = []

    def check(pointer: str, size: str, align: int, written: bool, what: str, name: str) -> None:
        number = len(sites)
        sites.append(what)
        kind, value = take_type(pointer)
        value = _VALUE.search(value)[0]
        if kind != "ptr":
            lines.append(f"  %emu.{number} = addrspacecast {kind} {value} to ptr")
            value = f"%emu.{number}"
        lines.append(
            f"  call void @{name}(ptr {value}, i64 {size}, i64 {align - 1}, "
            f"i64 {int(written)}, i64 {number})"
        )

    for line in text.split("\n"):
        if found := _COPIES.search(line):
            parts = split(found[2])
            copied = found[1] != "memset"
            for pointer, written in ((parts[0], True), (parts[1], False))[: 1 + copied]:
                aligned = re.search(r"align (\d+)", pointer)
                check(
                    pointer, parts[2].split()[-1], int(aligned[1]) if aligned else 1, written,
                    f"{found[1]} of {'a target' if written else 'a source'}", "emu_check_run",
                )  # fmt: skip
        elif (access := _access(line)) and "@emu_state" not in access.pointer:
            size = f"ptrtoint (ptr getelementptr ({access.kind}, ptr null, i64 1) to i64)"
            check(access.pointer, size, access.aligned, access.written, access.what, "emu_check")
        lines.append(line)
    checks = _CHECKS.format(
        words=max(1, len(sites)) * SITE_WORDS, site_words=SITE_WORDS, range_words=RANGE_WORDS,
        ranges=RANGES, range_count=RANGE_COUNT, mail=MAIL, fault=FAULT,
    )  # fmt: skip
    return "\n".join(lines) + checks, sites
