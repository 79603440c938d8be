"""Gradients of hard numbers, of NaN and infinities, at any number of threads, and as PyTorch's."""

import gradient_oracles
import numba
import numpy as np
import pytest
from gradients import (
    ALL,
    FIELDS,
    NORMAL,
    SOFTMAX,
    arguments,
    called,
    check,
    check_variant,
    expectation,
    keywords_of_forward,
    shapes_for,
)
from normals import bound_of, channels_last, near, operation, reference, values
from products import bits
from softmaxes import expectation as softmax_expectation

import fastmat as fm

EPS = np.finfo("f8").eps
ROWS = np.ones((2, 2, 2))


def normal(shape, dtype, scale=1.0, mean=0.0, seed=5):
    x = np.random.default_rng([seed, *shape]).standard_normal(shape) + mean
    return (x * scale).astype(dtype)


@pytest.mark.parametrize("variant", NORMAL)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_means_far_from_zero(dtype, variant):
    """The mean is up to a million times the standard deviation."""
    for ratio in (1e2, 1e4, 1e6):
        for shape in shapes_for(variant, [(7, 100), (5, 4, 50), (2, 3, 3001), (300, 9)]):
            x = normal(shape, dtype, mean=ratio)
            check_variant(variant, x, eps=0.0)
            check_variant(variant, -x, cotangent=normal(shape, dtype, mean=ratio, seed=6))


# Of x, and of the cotangent: the gradient of x has the size of their quotient.
SCALES = {
    "f4": [
        (1e30, 1),
        (1e-30, 1),
        (1e30, 1e30),
        (1e-30, 1e-30),
        (1, 1e30),
        (1, 1e-30),
        (1e-35, 1e-40),
        (1e-40, 1e-10),
        (1e-43, 1e-10),
    ],
    "f8": [(1e140, 1), (1e-140, 1), (1, 1e290), (1, 1e-300)],
}


@pytest.mark.parametrize(
    ("dtype", "scales"), [(d, s) for d, several in SCALES.items() for s in several]
)
def test_magnitudes(dtype, scales):
    """Without eps nothing overflows on the way, and subnormal numbers count as others do."""
    for variant in ALL:
        if "given" in variant or (variant in SOFTMAX and scales[0] != 1):
            continue
        for shape in shapes_for(variant, [(5, 8), (3, 40, 6), (2, 3000)]):
            x = normal(shape, dtype, scales[0])
            wanted = arguments(variant, x)["cotangent"]
            g = normal(np.shape(wanted), dtype, scales[1], seed=6)
            eps = {} if variant in SOFTMAX else {"eps": 0.0}
            with np.errstate(divide="ignore", under="ignore"):
                check_variant(variant, x, cotangent=g, **eps)


@pytest.mark.parametrize("variant", [v for v in NORMAL if "weight" in arguments(v, ROWS)])
def test_sums_are_held_in_float64(variant):
    """Whole numbers are summed exactly, beyond what float32 can tell apart."""
    for shape in shapes_for(variant, [(9000, 7), (7, 9000), (300, 6, 40), (2, 4, 5000)]):
        x, g = (np.random.default_rng(seed).integers(1, 100, shape).astype("f4") for seed in (1, 2))
        given = arguments(variant, x, g)
        given["weight"] = np.ones(given["weight"].shape)
        given["rstd"] = np.ones_like(given["rstd"])
        if "mean" in given:
            given["mean"] = np.zeros_like(given["mean"])
        expected = expectation(operation(variant), given)
        for part, wanted in zip(called(operation(variant), given)[1:], expected[1:], strict=True):
            np.testing.assert_array_equal(part, wanted[0].astype("f8"))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_eps(dtype):
    """Where it is above the norm, the norm is a constant."""
    x = values((7, 30), dtype)
    x[::2] *= np.asarray(1e-3, dtype)
    for eps in (1e-12, 1e-1, 1e4):
        for order in (1, 2, np.inf):
            check_variant("normalize", x, ord=order, eps=eps)
        check_variant("layer_norm", x, eps=eps)
        check_variant("rms_norm", x, eps=eps)
    x[3] = 0
    for order in (1, 2, np.inf):
        check_variant("normalize", x, ord=order)


def test_normalize_shares_what_is_largest():
    """Equally, whatever the signs; also where the places are far apart."""
    x = np.array([[2.0, -2.0, 1.0, 2.0], [0.5, 3.0, -3.0, 0.25]])
    check_variant("normalize", x, ord=np.inf)
    x = values((3, 5000), "f4")
    for axis in (0, 1):
        x[:, ::1250], x[1] = 50, -50
        check_variant("normalize", x, ord=np.inf, axis=axis)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_probabilities_of_every_size(dtype):
    x = np.linspace(-800, 50, 1500, dtype=dtype).reshape(3, 500)
    for variant in SOFTMAX:
        for shape in shapes_for(variant, [(3, 500), (30, 50), (5, 300, 1)]):
            check_variant(variant, x.reshape(shape))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_minus_infinity_counts_as_nothing(dtype):
    """A masked score has the probability 0; a group of nothing else is NaN, as in PyTorch."""
    x = values((6, 50), dtype)
    x[1, ::3], x[2] = -np.inf, -np.inf
    for variant in ("softmax", "log_softmax", "logsumexp"):
        dx = check_variant(variant, x)[0]
        assert np.isfinite(dx[1]).all()
        assert np.isnan(dx[2]).all()
        assert np.isfinite(np.delete(dx, 2, axis=0)).all()


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinities_stay_in_their_group(dtype, variant, bad):
    """What is finite by the definition is finite here, and NaN comes of NaN."""
    for shape in shapes_for(variant, [(5, 40), (3, 6, 9), (2, 4, 3, 50)]):
        for key in ("x", "cotangent"):
            x = values(shape, dtype)
            given = arguments(variant, x)
            place = tuple(n // 2 for n in given["cotangent"].shape)
            if key == "x":
                x[tuple(n // 2 for n in shape)] = bad
                given = arguments(variant, x)
            else:
                given["cotangent"][place] = bad
            if not np.isnan(bad):
                finite_where_expected(operation(variant), given)
            else:
                check(operation(variant), given)


def finite_where_expected(op, given):
    """Infinities may become infinities or NaN, which differs with the order of a sum."""
    for result, wanted in zip(called(op, given), expectation(op, given), strict=True):
        if wanted is not None:
            finite = np.isfinite(wanted[0])
            assert (np.isfinite(result) == finite).all()
            near(result[finite], wanted[0][finite], wanted[1][finite])


# Shapes that are large enough to be shared out, by every way that a kernel has of doing that.
SHARED = [(1, 70_001), (5000, 8), (300, 230), (40, 6, 300), (9, 8, 31, 30)]


@pytest.mark.parametrize("variant", ALL)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_same_bits_at_any_number_of_threads(dtype, variant):
    for shape in shapes_for(variant, SHARED):
        plain = values(shape, dtype)
        for x in (plain, channels_last(plain))[: len(shape) - 1]:
            given = arguments(variant, x)
            found = []
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                parts = called(operation(variant), given)
                found.append([None if part is None else bits(part) for part in parts])
            assert found[1:] == found[:1] * 3


STEP = 1e-4


def saved_by_forward(variant, x, keywords):
    """What the gradient takes of fastmat's forward operation."""
    op = operation(variant)
    if op in FIELDS:
        _, mean, rstd = getattr(fm, op)(x, **keywords, return_stats=True)
        return {"rstd": rstd} if op == "rms_norm" else {"mean": mean, "rstd": rstd}
    return {} if op == "normalize" else {"result": getattr(fm, op)(x, **keywords)}


@pytest.mark.parametrize("variant", ALL)
def test_differences_of_the_forward_operation(variant):
    """The gradient is the slope of fastmat's own operation, whose error blurs the differences."""
    op = operation(variant)
    for shape in shapes_for(variant, [(4, 5), (13, 17), (2, 6, 5), (3, 4, 2, 3)]):
        x = values(shape, "f8")
        keywords = keywords_of_forward(variant, x)
        saved = saved_by_forward(variant, x, keywords)
        given = arguments(variant, x)
        for key, part in saved.items():
            assert part.shape == given[key].shape
        given.update(saved)
        g, dx = given["cotangent"], called(op, given)[0]

        def loss(place, g=g, keywords=keywords):
            return np.sum(g * getattr(fm, op)(place.astype("f8"), **keywords).astype("g"))

        direction = normal(shape, "f8", seed=8).astype("g")
        if variant in SOFTMAX:
            bound = softmax_expectation(op, x, **keywords)[1]
        else:
            bound = bound_of(reference(op, x, **keywords))
        noise = 2 * np.sum(np.abs(g) * bound) + EPS * np.sum(np.abs(dx) * (np.abs(x) + 1))
        slope, bound = gradient_oracles.slope(loss, x.astype("g"), direction, STEP, noise)
        bound = bound + np.sum(np.abs(direction) * expectation(op, given)[0][1])
        assert bound < 1e-4 * np.sum(np.abs(dx * direction)) + 16 * noise / STEP
        assert np.abs(slope - np.sum(dx * direction)) <= bound


def torch_forward(torch, variant, x, keywords):
    """PyTorch's operation; over other axes than its own they are brought last, and back."""
    functional, op = torch.nn.functional, operation(variant)
    if op in ("group_norm", "instance_norm", "batch_norm", "normalize"):
        names = {"ord": "p", "axis": "dim"}
        keywords = {names.get(key, key): part for key, part in keywords.items()}
        if op == "normalize":
            keywords.setdefault("dim", -1)
        if op == "batch_norm":
            keywords = {"running_mean": None, "running_var": None, **keywords}
        return getattr(functional, op)(x, **keywords)
    axes = keywords.get("axis", -1)
    if "normalized_shape" in keywords:
        axes = tuple(range(-len(keywords["normalized_shape"]), 0))
    axes = tuple(range(x.ndim)) if axes is None else axes
    axes = (axes,) if isinstance(axes, int) else axes
    if op == "logsumexp":
        return torch.logsumexp(x, axes, keepdim=keywords.get("keepdims", False))
    last = tuple(range(-len(axes), 0))
    moved = x.movedim(axes, last)
    if "softmax" in op:
        result = getattr(torch, op)(moved.flatten(-len(axes)), -1).reshape(moved.shape)
    else:
        more = {key: keywords[key] for key in ("weight", "bias", "eps") if key in keywords}
        result = getattr(functional, op)(moved, moved.shape[-len(axes) :], **more)
    return result.movedim(last, axes)


def as_torch(torch, variant, x, **more):
    """Compare with PyTorch's gradients, whose statistics are off by n roundings each."""
    op, keywords = operation(variant), keywords_of_forward(variant, x, **more)
    given = arguments(variant, x, **more)
    leaves = {
        key: torch.from_numpy(part).requires_grad_(key in ("weight", "bias"))
        for key, part in keywords.items()
        if isinstance(part, np.ndarray)
    }
    tensor = torch.from_numpy(x).requires_grad_()
    result = torch_forward(torch, variant, tensor, {**keywords, **leaves})
    result.backward(torch.from_numpy(given["cotangent"]))
    theirs = [tensor.grad, *(leaves[key].grad for key in ("weight", "bias") if key in leaves)]
    wanted, parts = expectation(op, given), check(op, given)
    for mine, tensor, part in zip(parts, theirs, wanted, strict=False):
        if part is not None:
            near(mine, tensor.numpy(), (x.size + 8) * part[1])


@pytest.mark.parametrize("variant", ALL)
def test_as_torch(variant):
    torch = pytest.importorskip("torch")
    for shape in shapes_for(variant, [(12, 18), (4, 6, 5), (2, 4, 5, 7)]):
        x = values(shape, "f8")
        as_torch(torch, variant, x)
        if operation(variant) != "normalize" and len(shape) > 2:
            as_torch(torch, variant, channels_last(x))


@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_normalize_as_torch(order):
    torch = pytest.importorskip("torch")
    x = values((4, 6), "f8")
    x[0, 2:4], x[1], x[2, 1:5] = (9, -9), 1e-14, -9
    as_torch(torch, "normalize", x, ord=order)


def test_normalize_of_complex_numbers_as_torch():
    torch = pytest.importorskip("torch")
    as_torch(torch, "normalize", values((4, 6, 5), "c16"), axis=1)


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp"])
def test_infinities_as_torch(op):
    """Also for groups of -inf, and with an infinity among the numbers."""
    torch = pytest.importorskip("torch")
    x = values((5, 6), "f8")
    x[1], x[2, 3], x[3, 2] = -np.inf, -np.inf, np.inf
    as_torch(torch, op, x)
