"""Scalar functions against mpmath, in units of the last place, and the machine code of loops."""

import platform
import re

import mpmath
import numba
import numpy as np
import pytest
import scipy.special
from test_assembly import loops

from fastmat.core import elementary
from fastmat.cpu import blocking

FUNCTIONS = ("exp", "log", "tanh", "erf", "rsqrt")
DTYPES = (np.float32, np.float64)
MOST_ULP = {np.float32: 1.0, np.float64: 2.0}

# Where an algorithm changes over, a result ends, or a reduced argument does.
BREAKPOINTS = {
    "exp": (*(np.log(2) / 2 * np.arange(-9, 10, 2)), -103.97, -87.34, 88.72, -745.1, -708.4, 709.8),
    "log": (1.0, np.sqrt(0.5), np.sqrt(2.0), 2.0, 0.5, float(np.finfo(np.float32).tiny), 2.3e-308),
    "tanh": (*(np.log(2) / 4 * np.arange(-9, 10, 2)), 0.625, -9.01, 9.01, 19.06, 20.0),
    "erf": (-1.0, 1.0, -4.0, 3.83, 4.0, -5.95, 5.86, 5.95),
    "rsqrt": (0.25, 0.5, 1.0, 2.0, 4.0, float(np.finfo(np.float32).tiny), 2.3e-308),
}
INF, NAN = np.inf, np.nan
EXACT = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e30, INF), (-1e30, 0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (NAN, NAN), (-1, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (30.0, 1.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (-9.0, -1.0)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (INF, 0.0), (-INF, NAN), (NAN, NAN), (-1.0, NAN), (4, 0.5)],
}


def compiled(name):
    """A loop over arrays, as a user would write it."""
    function = getattr(elementary, name)

    @numba.njit
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return loop


LOOPS = {name: compiled(name) for name in FUNCTIONS}


def apply(name, x):
    y = np.empty_like(x)
    LOOPS[name](x, y)
    return y


def random_bits(rng, dtype, count):
    """Numbers of every magnitude: subnormal ones, infinities and nan among them."""
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")
    return rng.integers(0, np.iinfo(unsigned).max, count, unsigned, endpoint=True).view(dtype)


def points(name, dtype, count):
    rng = np.random.default_rng(20240607)
    near = np.array(BREAKPOINTS[name]).astype(dtype)
    near = near[(near != 0) & np.isfinite(near)]
    steps = rng.integers(-40, 41, (count // 5 // near.size + 1, near.size))
    parts = [
        random_bits(rng, dtype, count // 3),
        rng.uniform(-2, 2, count // 3),
        near * rng.uniform(0.97, 1.03, steps.shape),
        near + steps * np.spacing(near),
    ]
    with np.errstate(over="ignore"):
        x = np.concatenate([part.astype(dtype).ravel() for part in parts])
    return np.abs(x) if name in ("log", "rsqrt") else x


def exact(name, x):
    """The function of one finite number in 40 digits."""
    value = mpmath.mpf(float(x))
    if name == "exp":
        return mpmath.exp(min(max(value, -800), 800))  # beyond, mpmath takes minutes
    if name == "rsqrt":
        return 1 / mpmath.sqrt(value)
    if name in ("tanh", "erf") and abs(value) < 1e-15:
        return value * (1 if name == "tanh" else 2 / mpmath.sqrt(mpmath.pi))
    return getattr(mpmath, name)(value)


def ulp_error(computed, value):
    """Distance from the exact value in units of the dtype's spacing there; inf is 2**128."""
    limits = np.finfo(computed.dtype)
    infinity = mpmath.ldexp(1, int(limits.maxexp))
    value = max(-infinity, min(infinity, value))
    number = infinity * int(np.sign(computed)) if np.isinf(computed) else float(computed)
    _, exponent = mpmath.frexp(value)  # value is in [1/2, 1) * 2**exponent
    spacing = max(exponent - 1, int(limits.minexp)) - int(limits.nmant)
    return float(mpmath.ldexp(abs(number - value), -spacing))


def worst(name, dtype, count):
    """The greatest error at count points, and where."""
    x = points(name, dtype, count)
    x = x[np.isfinite(x) & ((x > 0) | (name not in ("log", "rsqrt")))]
    y = apply(name, x)
    assert not np.isnan(y).any()
    with mpmath.workdps(40):
        return max((ulp_error(b, exact(name, a)), a) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error(name, dtype):
    error, at = worst(name, dtype, 3000)
    assert error <= MOST_ULP[dtype], f"{error:.3f} ULP at {at!r}"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_of_float64_at_many_points(name):
    error, at = worst(name, np.float64, 100_000)
    assert error <= MOST_ULP[np.float64], f"{error:.3f} ULP at {at!r}"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_of_float32_at_many_points(name):
    """Against NumPy's and SciPy's float64: its own error is nothing beside a float32's."""
    x = points(name, np.float32, 1_000_000)
    y = apply(name, x)
    reference = {"erf": scipy.special.erf, "rsqrt": lambda x: 1 / np.sqrt(x)}
    with np.errstate(all="ignore"):
        value = reference.get(name, getattr(np, name, None))(x.astype(np.float64))
        rounded = value.astype(np.float32)
        error = np.abs(y - value) / np.spacing(np.abs(rounded)).astype(np.float64)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])
    assert error[finite].max() <= MOST_ULP[np.float32]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges(name, dtype):
    x, expected = np.array(EXACT[name]).astype(dtype).T.copy()
    y = apply(name, x)
    np.testing.assert_array_equal(y, expected)
    there = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(y[there]), np.signbit(expected[there]))
    assert y.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_overflow_underflow_and_subnormal_numbers(dtype):
    limits = np.finfo(dtype)
    least, most = limits.smallest_subnormal, limits.max
    above, below = np.log(most), np.log(least) - np.log(dtype(2))
    x = np.array([above, above * dtype(1.001), below, below * dtype(1.001), limits.minexp], dtype)
    y = apply("exp", x)
    assert np.isfinite(y[0]) == (mpmath.exp(float(x[0])) <= float(most))
    assert y[1] == np.inf
    assert 0 <= y[2] <= least
    assert y[3] == 0
    tiny = np.array([least, -least, 5 * least], dtype)
    np.testing.assert_array_equal(apply("tanh", tiny), tiny)
    np.testing.assert_array_equal(apply("erf", tiny), np.array([1, -1, 6], dtype) * least)
    assert apply("rsqrt", tiny)[0] == dtype(1 / np.sqrt(np.longdouble(least)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_payloads_of_nan_are_kept_from_the_result(name):
    """Bits of a nan never pass for a number."""
    bits = np.array([0x7FC00000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFABCDEF], np.uint32)
    assert np.isnan(apply(name, bits.view(np.float32))).all()
    bits = np.array(
        [0x7FF8 << 48, (0x7FF0 << 48) + 1, (1 << 63) - 1, (1 << 64) - 1, 0xFFF0123456789ABC],
        np.uint64,
    )
    assert np.isnan(apply(name, bits.view(np.float64))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_rounds_once(dtype):
    eps = np.finfo(dtype).eps
    x = dtype(1) + eps

    @numba.njit
    def fused(x, y, z):
        return elementary.fma(x, y, z)

    assert fused(x, x, -(x * x)) == eps * eps


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_for_compiled_code(name):
    with pytest.raises(TypeError, match="only for compiled code"):
        getattr(elementary, name)(1.0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_types_are_refused(name):
    with pytest.raises(numba.TypingError):
        apply(name, np.arange(3))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 assembly")
@pytest.mark.skipif(blocking.ISA == "baseline", reason="no vectors of fused multiplications")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_loops_are_vectorized(name, dtype):
    array = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    bare = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # they call and loop too
    function = numba.njit(**bare)(LOOPS[name].py_func)
    function.compile((array, array))
    packed = re.compile(r"v(fn?m\w+|mul|div|sqrt)p[sd]\s.*[yz]mm\d+")
    bodies = loops(next(iter(function.inspect_asm().values())))
    vectors = [body for body in bodies if any(packed.match(line) for line in body)]
    assert vectors, "no loop has packed instructions"
    calls = [line for body in bodies for line in body if line.startswith("call")]
    assert not calls, f"loops call functions: {calls}"
