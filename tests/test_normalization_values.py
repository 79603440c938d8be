"""Normalization of means far from 0, extreme magnitudes, NaN; the same bits at any threads."""

import normal_oracles
import numba
import numpy as np
import pytest
from normals import (
    VARIANTS,
    WITH_STATISTICS,
    channels_last,
    check,
    check_variant,
    fits,
    keywords_for,
    near,
    operation,
    reference,
    values,
)
from oracles import FLOATS, HALVES, name
from products import bits
from tolerances import variance_of_one_piece

import fastmat as fm

# Numerics

WITH_MEAN = [variant for variant in VARIANTS if "norm" in variant and "rms" not in variant]
WITH_MEAN = [variant for variant in WITH_MEAN if operation(variant) in WITH_STATISTICS]


@pytest.mark.parametrize("variant", WITH_MEAN)
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_means_far_from_zero(dtype, ratio, variant):
    """The mean is up to a million times the standard deviation."""
    for shape in [(7, 100), (5, 4, 50), (3, 6, 70), (2, 3, 3001), (300, 9)]:
        x = (np.random.default_rng(5).standard_normal(shape) + ratio).astype(dtype)
        if fits(variant, shape):
            check_variant(variant, x, eps=0.0, stats="given" not in variant)
            check_variant(variant, -x)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6])
def test_variances_of_one_piece_are_off_in_second_order(dtype, ratio):
    """In two passes over a short row, the error of its mean hardly matters to its variance."""
    for n in (5, 33, 64, 100, 255):
        x = (np.random.default_rng(5).standard_normal((9, n)) + ratio).astype(dtype)
        expected = reference("layer_norm", x, axis=-1, eps=0.0)
        bound = (variance_of_one_piece(n, ratio) + 4 * np.finfo("f8").eps) * expected.rstd
        rstd = fm.layer_norm(x, n, eps=0.0, return_stats=True).rstd
        near(rstd, expected.rstd, bound)


@pytest.mark.parametrize("dtype", [*HALVES, "f4", "f8"], ids=name)
def test_values_that_drift(dtype):
    """Each part of a group has a mean of its own, and the deviations are small beside it."""
    for n in (100, 4099, 70_001):
        drift = np.linspace(1000, 1100 if dtype in HALVES else 1001, n)
        x = (drift + 0.01 * np.random.default_rng(6).standard_normal((2, n))).astype(dtype)
        check("layer_norm", x, axis=-1, eps=0.0, stats=True)
        check("layer_norm", np.array(x.T), axis=0, eps=0.0, stats=True)
        check("batch_norm", np.array(x.T), training=True, eps=0.0, stats=True)
        check("group_norm", x[:, None], num_groups=1, eps=0.0, stats=True)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_one_number_far_from_the_others(dtype):
    x = values((5, 1000), dtype)
    for at, far in enumerate((1e3, 1e6, 1e10, 1e15, 1e20)):
        x[at, 17 * at] = far
    for variant in ("layer_norm", "rms_norm", "group_norm 1", "normalize", "normalize 1"):
        check_variant(variant, x)
        check_variant(variant, x[:, ::-1])


SCALES = {"f4": [1e30, 1e36, 1e-30, 1e-38, 1e-40, 1e-43], "f8": [1e140, 1e-140]}


@pytest.mark.parametrize(
    ("dtype", "scale"), [(d, s) for d, several in SCALES.items() for s in several]
)
def test_magnitudes(dtype, scale):
    """Without eps the magnitude has no effect, down to subnormal numbers."""
    for shape in [(5, 8), (3, 40, 6), (2, 5000)]:
        x = (np.random.default_rng(7).standard_normal(shape) * scale).astype(dtype)
        for variant in VARIANTS:
            if not fits(variant, shape) or "given" in variant:
                continue
            if "normalize" in variant and scale > 1e35 and dtype == "f4":
                continue  # see `test_normalize_of_the_largest_numbers`
            with np.errstate(divide="ignore"):  # subnormal numbers may all be equal
                more = {} if operation(variant) in ("normalize", "rms_norm") else {"bias": None}
                check_variant(variant, x, eps=0.0, **more)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_eps(dtype):
    """Of any size, and beside variances far below it."""
    x = values((7, 30), dtype) * np.asarray(1e-2, dtype)
    for eps in (0, 1e-12, 1e-5, np.float32(1e-3), 1, 1e6):
        for op in ("layer_norm", "rms_norm"):
            check(op, x, axis=-1, eps=eps, stats=True)
        check("group_norm", x, num_groups=3, eps=eps)
        check("batch_norm", x, training=True, eps=eps)
        check("normalize", x, eps=eps)


def test_default_eps_of_rms_norm():
    """The machine epsilon of the dtype of x: seen with numbers that are as small."""
    for dtype in FLOATS:
        eps = normal_oracles.machine_epsilon(dtype)
        x = np.full((1, 4), np.sqrt(eps), dtype)
        near(fm.rms_norm(x, 4), np.full((1, 4), np.sqrt(0.5)), np.longdouble(4 * eps))
    assert abs(fm.rms_norm(np.ones(4, "i4"), 4)[0] - 1) < 1e-15


def test_normalize_divides_by_eps_at_least():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [3e-13, 4e-13]])
    near(fm.normalize(x), [[0.6, 0.8], [0, 0], [0.3, 0.4]], np.longdouble(1e-15))
    near(fm.normalize(x, eps=10.0)[0], [0.3, 0.4], np.longdouble(1e-15))
    for order in (1, 2, np.inf):
        check("normalize", x, ord=order)
        check("normalize", x.astype("f4"), ord=order)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dtype", ["f4", "c8"])
def test_normalize_of_the_largest_numbers(dtype, order):
    """The norm is held in float64, so the result has full precision."""
    check("normalize", np.full((2, 1009), 3e38, dtype), ord=order)


@pytest.mark.parametrize("op", ["layer_norm", "group_norm", "batch_norm"])
def test_the_largest_float32_numbers(op):
    """A deviation of 4.5e38 is no float32 number; divided by the standard deviation it is."""
    x = np.array([[3e38, 3e38, 3e38, -3e38]], "f4")
    if op == "batch_norm":
        check(op, np.array(x.T), training=True, eps=0.0)
    else:
        more = {"axis": -1} if op == "layer_norm" else {"num_groups": 1}
        check(op, x, eps=0.0, **more)


@pytest.mark.parametrize("op", ["layer_norm", "group_norm", "instance_norm", "batch_norm"])
def test_errors_are_not_larger_than_torchs(op):
    """In float32, with means of ten thousand standard deviations."""
    torch = pytest.importorskip("torch")
    shape = (20, 6, 500)
    x = (np.random.default_rng(8).standard_normal(shape) + 1e4).astype("f4")
    arguments = {
        "layer_norm": {"normalized_shape": (500,)},
        "group_norm": {"num_groups": 3},
        "instance_norm": {},
        "batch_norm": {"running_mean": None, "running_var": None, "training": True},
    }[op]
    theirs = getattr(torch.nn.functional, op)(torch.from_numpy(x), **arguments).numpy()
    expected = reference(op, x, **arguments).value
    ours = getattr(fm, op)(x, **arguments)
    assert np.max(np.abs(ours - expected)) <= np.max(np.abs(theirs - expected))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.filterwarnings("error")
def test_no_warnings(variant):
    """Where there is nothing to divide by, there is NaN or infinity, and no warning."""
    x = np.zeros((4, 6, 5))
    keywords = keywords_for(variant, x)
    if "running_var" in keywords:
        keywords["running_var"] = np.zeros(6)
    getattr(fm, operation(variant))(x, **{**keywords, "eps": 0.0})


@pytest.mark.filterwarnings("error")
def test_no_warnings_of_complex_numbers():
    fm.normalize(np.zeros((3, 4), "c8"), eps=0.0)


# NaN and infinities


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_nan_and_inf_stay_in_their_group(dtype, variant):
    """The others have the same bits as without them."""
    for shape, where in [((9, 5), (4, 2)), ((3, 6, 35), (1, 4, 30)), ((70, 4, 33), (65, 1, 0))]:
        if not fits(variant, shape):
            continue
        x = values(shape, dtype)
        keywords = keywords_for(variant, x)
        op = getattr(fm, operation(variant))
        clean = op(x, **keywords)
        poisoned = x.copy()
        poisoned[where] = np.nan
        group = np.isnan(reference(operation(variant), poisoned, **keywords).value)
        assert group.any()
        for bad in (np.nan, np.inf, -np.inf):
            poisoned[where] = bad
            result = check(operation(variant), poisoned, **keywords)
            assert bits(result[~group]) == bits(clean[~group])


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
def test_nan_is_never_lost_in_a_norm(dtype):
    """Wherever it is, also for the largest absolute value."""
    for n in (5, 33, 1025):
        for at in (0, 1, n // 2, n - 1):
            for order in (1, 2, np.inf):
                x = values((3, n), dtype)
                x[1, at] = np.nan
                assert np.isnan(fm.normalize(x, order)[1]).all()
                assert not np.isnan(fm.normalize(x, order)[[0, 2]]).any()
                assert np.isnan(fm.normalize(np.array(x.T), order, 0)[:, 1]).all()


def test_nan_in_parameters():
    x = values((4, 6, 5), "f4")
    for variant in ("layer_norm", "group_norm", "batch_norm", "batch_norm given"):
        keywords = keywords_for(variant, x)
        for key, value in keywords.items():
            if isinstance(value, np.ndarray):
                poisoned = value.copy()
                poisoned[2] = np.nan
                check(operation(variant), x, **{**keywords, key: poisoned})


# Threads

THREAD_SHAPES = [
    (2, 70_001),
    (70_001, 2),
    (5000, 8),
    (300, 33),
    (1000, 3),
    (8, 16, 33, 5),
    (40, 700),
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_same_bits_at_any_number_of_threads(dtype, variant):
    for shape in THREAD_SHAPES:
        if not fits(variant, shape):
            continue
        x = values(shape, dtype)
        keywords = keywords_for(variant, x)
        statistics = {"return_stats": True} if operation(variant) in WITH_STATISTICS else {}
        for layout in (x, channels_last(x)):
            results = set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                result = getattr(fm, operation(variant))(layout, **keywords, **statistics)
                parts = result if statistics else (result,)
                results.add(tuple(bits(part) for part in parts))
            assert len(results) == 1, shape


def test_same_running_statistics_at_any_number_of_threads():
    for op in ("batch_norm", "instance_norm"):
        use = {"training": True} if op == "batch_norm" else {}
        for x in (values((8, 16, 33, 5), "f4"), channels_last(values((64, 5, 300), "f4"))):
            results = set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                mean, var = np.zeros(x.shape[1], "f4"), np.ones(x.shape[1], "f4")
                getattr(fm, op)(x, mean, var, **use)
                results.add((bits(mean), bits(var)))
            assert len(results) == 1


def test_run_to_run():
    numba.set_num_threads(8)
    for variant in VARIANTS:
        x = values((64, 6, 700), "f4")
        op, keywords = getattr(fm, operation(variant)), keywords_for(variant, x)
        assert len({bits(op(x, **keywords)) for _ in range(4)}) == 1
