"""Statistics on their way in and out: few numbers, in float64."""

from __future__ import annotations

import functools
import math

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.kernel import Kernel

THREADS = 128


@functools.cache
def given(dtype: str, source: str, variance: bool, centred: bool, kept: bool) -> Kernel:
    """Statistics that are given, as `normalization.apply` reads them.

    `dtype` is that of the numbers computed with, `source` that of the statistics.
    """
    e = element(source)
    widen = e.widen
    number = getattr(types, dtype)

    def split_statistics(
        mean,  # in (groups,)
        second,  # in (groups,), rstd or the variance
        result,  # out (3, groups): mean in two parts, rstd
        mean_out,  # out (groups,), if `kept`
        rstd_out,  # out (groups,), if `kept`
        groups,
        eps,
    ):
        g = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if g >= groups:
            return
        m = types.float64(0)
        if centred:
            m = types.float64(widen(mean[g]))
        s = types.float64(widen(second[g]))
        if variance:
            s = types.float64(1) / math.sqrt(s + eps)
        if kept:
            mean_out[g] = m
            rstd_out[g] = s
        high = number(m)
        low = number(m - types.float64(high))
        result[g] = high
        result[g + groups] = low if low == low else number(0)
        result[g + 2 * groups] = number(s)

    arguments = (
        e.pointer, e.pointer, f"{dtype}*", "float64*", "float64*", "int64", "float64",
    )  # fmt: skip
    name = f"split_statistics {dtype} {source} {variance} {centred} {kept}"
    return Kernel(split_statistics, arguments, name=name, threads=THREADS)


@functools.cache
def update(dtype: str, mean: str, variance: str) -> Kernel:
    """Move running statistics towards new ones, the means of those of all items."""
    number = getattr(types, dtype)
    of_mean, of_variance = element(mean), element(variance)
    widen_mean, narrow_mean, mean_number = of_mean.widen, of_mean.narrow, of_mean.number
    widen_variance, narrow_variance = of_variance.widen, of_variance.narrow
    variance_number = of_variance.number

    def update_running(
        measured,  # in (4, items, channels): center in two parts, factor, count
        spread,  # in (items, channels)
        running_mean,  # inout (channels,)
        running_var,  # inout (channels,)
        items,
        channels,
        mean_step,
        var_step,
        share,
    ):
        c = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if c >= channels:
            return
        plane = items * channels
        mean = types.float64(0)
        variance = types.float64(0)
        count = types.float64(0)
        for item in range(items):
            at = item * channels + c
            count = types.float64(measured[at + 3 * plane])
            mean += types.float64(measured[at]) + types.float64(measured[at + plane])
            variance += types.float64(spread[at]) / max(count - types.float64(1), types.float64(1))
        if count <= types.float64(1):
            return
        old = types.float64(widen_mean(running_mean[c * mean_step]))
        new = (types.float64(1) - share) * old + share * (mean / items)
        running_mean[c * mean_step] = narrow_mean(mean_number(new))
        old = types.float64(widen_variance(running_var[c * var_step]))
        new = (types.float64(1) - share) * old + share * (variance / items)
        running_var[c * var_step] = narrow_variance(variance_number(new))

    arguments = (
        f"{number.name}*", f"{number.name}*", of_mean.pointer, of_variance.pointer,
        *["int64"] * 4, "float64",
    )  # fmt: skip
    name = f"update_running {dtype} {mean} {variance}"
    return Kernel(update_running, arguments, name=name, threads=THREADS)


@functools.cache
def mean_and_variance(dtype: str, parts: int) -> Kernel:
    """Mean and variance in the dtype of the numbers; of two parts, if they are complex."""
    e = element(dtype)
    number, narrow = e.number, e.narrow

    def write_moments(
        measured,  # in (4, groups * parts): center in two parts, factor, count
        spread,  # in (groups * parts,)
        mean,  # out (groups * parts,)
        variance,  # out (groups,)
        groups,
        correction,
    ):
        g = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if g >= groups:
            return
        plane = groups * parts
        total = number(0)
        for part in range(parts):
            at = g * parts + part
            mean[at] = narrow(measured[at] + measured[at + plane])
            total += spread[at]
        count = measured[g * parts + 3 * plane]
        variance[g] = narrow(total / max(count - correction, number(0)))

    arguments = (
        *[f"{number.name}*"] * 2, e.pointer, e.pointer, "int64", number.name,
    )  # fmt: skip
    return Kernel(write_moments, arguments, name=f"write_moments {dtype} {parts}", threads=THREADS)
