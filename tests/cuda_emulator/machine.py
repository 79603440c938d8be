"""What a compiled kernel and the scheduler share: a few words in memory, and mail.

Each fiber has a row of mail. It writes what it asks for (the number of an operation, a site, the
arguments), switches to the scheduler, and finds the answers there when it goes on.
"""

from __future__ import annotations

# Words of @emu_state
(
    SCHEDULER,  # stack pointers
    FIBER,
    MAIL,  # the row of the fiber that runs
    THREAD,
    THREADS,
    BLOCK,  # x, y, z
    _,
    _,
    BLOCKS,  # x, y, z
    _,
    _,
    DYNAMIC,  # bytes of dynamic shared memory
    CLOCK,
    RANGES,  # of memory that may be accessed: where their table is, and how many there are
    RANGE_COUNT,
) = range(15)
STATE_WORDS = 32

# Words of a row of mail
OPERATION, SITE, FIRST, ANSWER, MAIL_WORDS = 0, 1, 2, 64, 128
ARGUMENT_WORDS = 64

_SAVED = ("rbp", "rbx", "r12", "r13", "r14", "r15")
_ASSEMBLY = "\\0A".join(
    [
        *(f"pushq %{name}" for name in _SAVED),
        "movq %rsp, (%rdi)",
        "movq (%rsi), %rsp",
        *(f"popq %{name}" for name in reversed(_SAVED)),
        "retq",
    ]
)
_SWITCH = f"""
define void @emu_switch(ptr %save, ptr %load) naked noinline nounwind {{
  call void asm sideeffect "{_ASSEMBLY}", ""()
  unreachable
}}
"""

_RUNTIME = """
@emu_state = global [{state} x i64] zeroinitializer, align 16
@emu_arguments = global [{arguments} x i64] zeroinitializer, align 16
{switch}
define void @emu_yield() noinline nounwind {{
  call void @emu_switch(ptr getelementptr (i64, ptr @emu_state, i64 {fiber}), ptr @emu_state)
  ret void
}}
define void @emu_start() noinline {{
start:
{load}
  call void @{kernel}({values})
  %mail = load ptr, ptr getelementptr (i64, ptr @emu_state, i64 {mail})
  store i64 0, ptr %mail
  call void @emu_yield()
  unreachable
}}
"""


def runtime(kernel: str, arguments: list[str]) -> str:
    """The switch between stacks, and where a fiber starts."""
    load = "\n".join(
        f"  %a{i} = load {kind}, ptr getelementptr (i64, ptr @emu_arguments, i64 {i})"
        for i, kind in enumerate(arguments)
    )
    values = ", ".join(f"{kind} %a{i}" for i, kind in enumerate(arguments))
    return _RUNTIME.format(
        switch=_SWITCH, kernel=kernel, load=load, values=values, state=STATE_WORDS,
        arguments=ARGUMENT_WORDS, fiber=FIBER, mail=MAIL,
    )  # fmt: skip


def _word(index: int) -> str:
    return f"ptr getelementptr (i64, ptr @emu_state, i64 {index})"


_AXIS = {"x": 0, "y": 1, "z": 2}


def register(name: str, returned: str) -> str | None:
    """A function that reads a special register; None if the emulator has no such register."""
    register = name.removeprefix("nvvm.read.ptx.sreg.")
    base, _, axis = register.partition(".")
    load = "%v = load i64, {}\n"
    if base in ("tid", "ntid") and axis:
        where = THREAD if base == "tid" else THREADS
        body = (
            load.format(_word(where)) if axis == "x" else f"%v = add i64 0, {int(base != 'tid')}\n"
        )
    elif base in ("ctaid", "nctaid") and axis:
        body = load.format(_word((BLOCK if base == "ctaid" else BLOCKS) + _AXIS[axis]))
    elif base == "laneid":
        body = f"%t = load i64, {_word(THREAD)}\n%v = and i64 %t, 31\n"
    elif base == "warpid":
        body = f"%t = load i64, {_word(THREAD)}\n%v = lshr i64 %t, 5\n"
    elif base == "warpsize":
        body = "%v = add i64 0, 32\n"
    elif base in ("clock", "clock64"):
        body = f"%t = load i64, {_word(CLOCK)}\n%v = add i64 %t, 1\nstore i64 %v, {_word(CLOCK)}\n"
    elif base == "dynamic_smem_size":
        body = load.format(_word(DYNAMIC))
    else:
        return None
    cast = "" if returned == "i64" else f"%n = trunc i64 %v to {returned}\n"
    result = "%v" if returned == "i64" else "%n"
    head = f"define internal {returned} @{name}() alwaysinline"
    return f"{head} {{\n{body}{cast}ret {returned} {result}\n}}"


def _to_word(kind: str, value: str, name: str) -> list[str]:
    """Instructions that make a number a word, %NAME."""
    if kind == "i64":
        return [f"%{name} = add i64 {value}, 0"]
    if kind.startswith("ptr"):
        return [f"%{name} = ptrtoint {kind} {value} to i64"]
    if kind == "double":
        return [f"%{name} = bitcast double {value} to i64"]
    bits = {"float": "i32", "half": "i16", "bfloat": "i16", "<2 x half>": "i32"}.get(kind)
    if bits is not None:
        return [
            f"%{name}.bits = bitcast {kind} {value} to {bits}",
            f"%{name} = zext {bits} %{name}.bits to i64",
        ]
    return [f"%{name} = zext {kind} {value} to i64"]


def trap(
    name: str,
    number: int,
    returned: str,
    arguments: list[str],
    results: list[str],
    order: tuple[int | str, ...],
    site: bool,
) -> str:
    """A function that asks the scheduler for an operation; `order`: which arguments it gets."""
    parameters = [f"{kind} %a{i}" for i, kind in enumerate(arguments)]
    lines = [f"%mail = load ptr, {_word(MAIL)}", f"store i64 {number}, ptr %mail"]
    if site:
        parameters.append("i64 %site")
        lines += [f"%m1 = getelementptr i64, ptr %mail, i64 {SITE}", "store i64 %site, ptr %m1"]
    for place, which in enumerate(order):
        if isinstance(which, str):
            lines.append(f"%w{place} = add i64 {which}, 0")
        else:
            lines += _to_word(arguments[which], f"%a{which}", f"w{place}")
        lines += [
            f"%p{place} = getelementptr i64, ptr %mail, i64 {FIRST + place}",
            f"store i64 %w{place}, ptr %p{place}",
        ]
    lines.append("call void @emu_yield()")
    last = "undef"
    for i, kind in enumerate(results):
        lines += [
            f"%q{i} = getelementptr i64, ptr %mail, i64 {ANSWER + i}",
            f"%r{i} = load {kind}, ptr %q{i}",
        ]
        if returned.startswith("{"):
            lines.append(f"%s{i} = insertvalue {returned} {last}, {kind} %r{i}, {i}")
            last = f"%s{i}"
        else:
            last = f"%r{i}"
    lines.append("ret void" if returned == "void" else f"ret {returned} {last}")
    body = "\n  ".join(lines)
    return f"define {returned} @{name}({', '.join(parameters)}) noinline {{\n  {body}\n}}"
