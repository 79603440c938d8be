"""`cluster_norm` and its gradient inside ``@njit``."""

import numpy as np
from numba import types
from numba.core import errors
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.core.mathfn import NUMBA_DTYPES
from fastmat.cpu.cluster_norm import cluster_norm as norm_kernel
from fastmat.cpu.cluster_norm_vjp import cluster_norm_vjp as gradient_kernel
from fastmat.cpu.kmeans import kmeans
from fastmat.ops import cluster_norm as ops
from fastmat.ops.cluster_norm import MOST_LABELS, ClusterNormalized
from fastmat.ops.differentiated import Gradients
from fastmat.overloads.groups import constant, floating, in_slots, picked, ready, writer
from fastmat.overloads.parameters import parameters_for
from fastmat.overloads.typing import array_type, as_kernel_reads, given

_ROWS = (), (1,), (), (), (0,)  # features are groups, and rows their numbers
_in_groups, _parameter_in_groups = in_slots(_ROWS), in_slots(_ROWS, (1,))


@overload(ops.cluster_norm, prefer_literal=True)
def _cluster_norm(
    x, clusters, weight=None, bias=None, eps=1e-5, rng=None, out=None, return_stats=False
):
    dtype = _rows(x, "x")
    by_columns = x.layout == "F"
    read, parameters = ready(x, dtype, by_columns), parameters_for(x, (1,), weight, bias, dtype)
    find = _clustered(clusters, rng)
    write = writer(x, out, dtype, by_columns, _normalize)
    kept, pick = constant(return_stats, "return_stats", bool), picked(return_stats)

    @inlined
    def normalized(x, clusters, weight, bias, eps, rng, out):
        a = read(x)
        w, b = parameters(weight, bias, x)
        _same_shape(out, x)
        labels, count = find(a, clusters, rng)
        shape = (count, x.shape[1]) if kept else (0, 0)
        mean, rstd = np.full(shape, np.nan), np.full(shape, np.nan)
        result = write((a, w, b), (labels, mean, rstd, count, eps), x, out)
        return ClusterNormalized(result, mean, rstd, labels)

    def cluster_norm(
        x, clusters, weight=None, bias=None, eps=1e-5, rng=None, out=None, return_stats=False
    ):
        return pick(normalized(x, clusters, weight, bias, eps, rng, out))

    return cluster_norm


@inlined
def _normalize(arguments, extra, target):
    x, weight, bias = arguments
    labels, mean, rstd, count, eps = extra
    if x.size:
        a, b = _in_groups(x), _in_groups(target)
        w, s = _parameter_in_groups(weight), _parameter_in_groups(bias)
        args = (a, w, s, b, labels, mean, rstd, count, np.float64(eps))
        call_all(norm_kernel, a.dtype, args)


@overload(ops.cluster_norm_vjp)
def _cluster_norm_vjp(cotangent, x, labels, mean, rstd, weight=None, out=None):
    dtype = _rows(x, "x")
    for argument, name, ndim in ((cotangent, "cotangent", 2), (mean, "mean", 2), (rstd, "rstd", 2)):
        _real(argument, name, ndim)
    double = np.dtype(np.float64)
    by_columns = x.layout == "F"
    read, read_g = ready(x, dtype, by_columns), ready(cotangent, dtype, by_columns)
    read_mean, read_rstd = ready(mean, double, False), ready(rstd, double, False)
    find = _labelled(labels, "labels")
    write = writer(x, out, dtype, by_columns, _differentiate)

    @inlined
    def gradient(cotangent, x, labels, mean, rstd, weight, out):
        if cotangent.shape != x.shape:
            raise ValueError("cotangent has another shape than x")
        if mean.shape[1] != x.shape[1]:
            raise ValueError("mean must have one number for each feature of x")
        if rstd.shape != mean.shape:
            raise ValueError("rstd has another shape than mean")
        a, g = read(x), read_g(cotangent)
        found, count = find(a, labels)
        if count > mean.shape[0]:
            raise ValueError("labels has a label that mean does not have")
        sums = np.zeros((2, x.shape[1]))
        arguments = (a, g, read_mean(mean), read_rstd(rstd), weight)
        return write(arguments, (found, sums), x, out), sums

    if not given(weight):

        def cluster_norm_vjp(cotangent, x, labels, mean, rstd, weight=None, out=None):
            w = np.ones(x.shape[1])
            result, _ = gradient(cotangent, x, labels, mean, rstd, w, out)
            return Gradients(result, None, None)

        return cluster_norm_vjp
    _real(weight, "weight", 1)
    read_weight, item = ready(weight, double, False), NUMBA_DTYPES[floating(weight, "weight").name]

    def cluster_norm_vjp(cotangent, x, labels, mean, rstd, weight=None, out=None):
        if weight.shape[0] != x.shape[1]:
            raise ValueError("weight must have one number for each feature of x")
        w = read_weight(weight)
        result, sums = gradient(cotangent, x, labels, mean, rstd, w, out)
        return Gradients(result, sums[0].astype(item), sums[1].astype(item))

    return cluster_norm_vjp


@inlined
def _differentiate(arguments, extra, target):
    x, g, mean, rstd, weight = arguments
    labels, sums = extra
    if x.size:
        a, b = _in_groups(x), _in_groups(target)
        args = (_in_groups(g), a, b, labels, mean, rstd, weight, sums[0], sums[1])
        call_all(gradient_kernel, a.dtype, args)


def _same_shape(out, x):
    """That `out` has the shape of the result: asked before k-means takes its time."""
    raise TypeError("only for compiled code")


@overload(_same_shape)
def _same_shape_as(out, x):
    if not given(out):
        return lambda out, x: None

    def check(out, x):
        if out.shape != x.shape:
            raise ValueError("out has another shape than the result")

    return check


def _rows(x, name):
    """The dtype to compute in of an array of rows."""
    _real(x, name, 2)
    return floating(x, name)


def _real(argument, name, ndim):
    """A TypingError unless the argument is an array of real numbers with so many axes."""
    floating(argument, name)
    if argument.ndim != ndim:
        raise errors.TypingError(f"{name} has {argument.ndim} dimensions; it must have {ndim}")


def _clustered(clusters, rng):
    """A function (x, clusters, rng) of labels and their number."""
    if isinstance(clusters, types.Array):
        find = _labelled(clusters, "clusters")
        return inlined(lambda x, clusters, rng: find(x, clusters))
    if not isinstance(clusters, types.Integer):
        raise errors.TypingError(
            f"clusters is of type {clusters}; it must be an array of integers, or an integer"
        )
    seed_of = _seed(rng)

    def find_clusters(x, clusters, rng):
        n = x.shape[0]
        if clusters < 1 or clusters > n:
            raise ValueError("clusters must be from 1 to the number of rows of x")
        for i in range(n):
            for j in range(x.shape[1]):
                if not np.isfinite(x[i, j]):
                    raise ValueError("x has NaN or infinities; k-means wants finite numbers")
        labels = np.zeros(n, np.int64)
        seed = seed_of(rng)
        if x.size:
            a = as_kernel_reads(x)
            call_all(kmeans, a.dtype, (a, labels, np.int64(clusters), seed))
        return labels, np.int64(clusters)

    return inlined(find_clusters)


def _seed(rng):
    """A function of `rng`: the seed that it stands for, as `ops.cluster_norm.seed_of`."""
    most = ops.SEEDS - 1
    if not given(rng):
        # the only generator that compiled code can use without being handed one
        return inlined(lambda rng: np.uint64(np.random.randint(0, most)))  # noqa: NPY002
    if isinstance(rng, types.NumPyRandomGeneratorType):
        return inlined(lambda rng: np.uint64(rng.integers(0, most)))
    if not isinstance(rng, types.Integer):
        raise errors.TypingError(
            f"rng is of type {rng}; it must be a seed, a numpy.random.Generator or None"
        )

    def seed_itself(rng):
        if rng < 0:
            raise ValueError("rng is negative; a seed must be from 0 to 2**64 - 1")
        return np.uint64(rng)

    return inlined(seed_itself)


def _labelled(labels, name):
    """A function (x, labels) of a copy of the labels and of their number."""
    array_type(labels, name)
    if as_dtype(labels.dtype).kind not in "iu":
        raise errors.TypingError(f"{name} has dtype {labels.dtype}; it must be integers")
    if labels.ndim != 1:
        raise errors.TypingError(f"{name} has {labels.ndim} dimensions; it must have 1")
    length = f"{name} must have one label for each row of x"
    negative = f"{name} has a negative label; labels are numbered from 0"
    large = (
        f"{name} has a label that is not less than the number of rows, or 65536: number labels "
        "without gaps by np.unique(labels, return_inverse=True)"
    )

    def find(x, labels):
        n = x.shape[0]
        if labels.shape[0] != n:
            raise ValueError(length)
        found, count = np.empty(n, np.int64), 0
        for row in range(n):
            if labels[row] < 0:
                raise ValueError(negative)
            if labels[row] >= max(n, MOST_LABELS):
                raise ValueError(large)
            found[row] = labels[row]
            count = max(count, found[row] + 1)
        return found, count

    return inlined(find)
