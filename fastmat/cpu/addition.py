"""The sum of two arrays, into one that stays in the cache."""

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.mathfn import narrow, widen
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_reductions import TASK
from fastmat.cpu.groups import FLOATS, is_across, threads_for
from fastmat.cpu.lines import is_packed, line, packed
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.views import moved_last


def add_types(t):
    """Argument types of the kernel."""
    return reads(t, 5), reads(t, 5), writes(t, 5)


@kernel(add_types, FLOATS, from_python=True)
def add(
    x,  # in (o, i, p, r, q), not empty
    y,  # in (o, i, p, r, q)
    out,  # out (o, i, p, r, q)
):
    """out = x + y"""
    if is_across(x):
        x, y, out = moved_last(x, 1), moved_last(y, 1), moved_last(out, 1)
    lines = x.size // x.shape[4]
    several = max(1, TASK // x.shape[4])
    parallel_for(_lines, ceil_div(lines, several), threads_for(x), (x, y, out, lines, several))


@task
def _lines(args, slot, index):
    x, y, out, lines, several = args
    _, inner, p, r, _ = x.shape
    for number in range(index * several, min((index + 1) * several, lines)):
        group, place = number // (p * r), number % (p * r)
        at = group // inner, group % inner, place // r, place % r, 0
        a, b, c = line(x, *at), line(y, *at), line(out, *at)
        if is_packed(a) and is_packed(b) and is_packed(c):
            a, b, c = packed(a), packed(b), packed(c)
            for j in range(c.shape[0]):
                c[j] = narrow(widen(a[j]) + widen(b[j]), c.dtype)
        else:
            for j in range(c.shape[0]):
                c[j] = narrow(widen(a[j]) + widen(b[j]), c.dtype)
