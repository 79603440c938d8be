"""Elementary functions of float32 and float64 whose loops LLVM vectorizes.

Numba's own call the C library once per number. These have no branches, no tables and no calls:
every case is computed and one selected. (A CPU that cannot fuse calls the C library's fma, at
10 ns per number.) Subnormal numbers, infinities and nan are treated as others. Coefficients
without a source are minimax ones, found by Remez' algorithm in 40 digits and rounded.

Greatest errors in units of the last place: of float32 at each fifth of all numbers, of float64 at
10**7 random ones (erf: 10**5).

          exp   log   tanh  erf   rsqrt
float32   0.90  0.83  0.51  0.53  0.50
float64   0.92  0.81  1.70  1.11  1.50
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmat.core.inline import overload
from fastmat.core.mathfn import reinterpret

_LONGEST_CHAIN = 8  # terms of a polynomial that are summed one after the other


@intrinsic
def fma(typingctx, x, y, z):
    """x*y + z with one rounding."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return x(x, x, x), codegen


@intrinsic
def maximum(typingctx, x, y):
    """The larger number, or NaN if there is one: unlike a comparison, SIMD in a loop."""

    def codegen(context, builder, signature, args):
        number = args[0].type
        kind = ir.FunctionType(number, [number, number])
        return builder.call(builder.module.declare_intrinsic("llvm.maximum", [number], kind), args)

    return x(x, x), codegen


@intrinsic
def select(typingctx, condition, x, y):
    """`x if condition else y`, where a branch would keep loops from being vectorized."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return x(types.boolean, x, x), codegen


@intrinsic
def polynomial(typingctx, x, coefficients):
    """coefficients[0] + coefficients[1]*x + ..., by Horner's rule in fused steps.

    Even and odd powers are summed apart where they are many: two short chains are quicker than a
    long one (erf of float64: 1.3 instead of 1.6 ns), if less exact in their last steps.
    """

    def horner(builder, x, terms):
        result = terms[-1]
        for term in terms[-2::-1]:
            result = builder.fma(result, x, term)
        return result

    def codegen(context, builder, signature, args):
        of_x, of_coefficients = signature.args
        terms = [
            context.cast(builder, builder.extract_value(args[1], at), dtype, of_x)
            for at, dtype in enumerate(of_coefficients)
        ]
        if len(terms) <= _LONGEST_CHAIN:
            return horner(builder, args[0], terms)
        square = builder.fmul(args[0], args[0])
        even, odd = horner(builder, square, terms[::2]), horner(builder, square, terms[1::2])
        return builder.fma(odd, args[0], even)

    return x(x, coefficients), codegen


# exp(x) = 2**n * exp(r), where n = round(x / log(2)) and |r| <= log(2) / 2.

_LOG2_E = 1.4426950408889634
_LN2, _LN2_REST = 0.6931471805599453, 2.3190468138462996e-17
_LN2_FLOAT32, _LN2_REST_FLOAT32 = 0.6931471824645996, -1.9046542121259336e-09

# (exp(r) - 1 - r) / r**2 with errors relative to exp(r): 0.05 * 2**-24 and 0.03 * 2**-53.
_EXP_FLOAT32 = (
    0.4999999403953552,
    0.1666651964187622,
    0.04166839271783829,
    0.0083687799051404,
    0.001381446490995586,
)
_EXP_FLOAT64 = (
    0.5000000000000011,
    0.16666666666666408,
    0.041666666666529406,
    0.00833333333349727,
    0.0013888888943881892,
    0.00019841269501582326,
    2.480149279271694e-05,
    2.7557589877918605e-06,
    2.7630371157187754e-07,
    2.4999247594445397e-08,
)


def exp(x):
    """The exponential of a float32 or float64."""
    raise TypeError("only for compiled code")


@overload(exp)
def _exp(x):
    if x == types.float32:
        real, integer, mantissa_bits, exponent_bits = types.float32, types.int32, 23, 0x7F800000
        least, most = np.float32(-104), np.float32(89)
        log2_e, ln2, ln2_rest = map(np.float32, (_LOG2_E, _LN2_FLOAT32, _LN2_REST_FLOAT32))
        bias = np.float32(1.5 * 2**23 + 2 * 127)
        coefficients, one = _EXP_FLOAT32, np.float32(1)
    elif x == types.float64:
        real, integer, mantissa_bits, exponent_bits = types.float64, types.int64, 52, 0x7FF << 52
        least, most = -746.0, 710.0
        log2_e, ln2, ln2_rest = _LOG2_E, _LN2, _LN2_REST
        bias = 1.5 * 2**52 + 2 * 1023
        coefficients, one = _EXP_FLOAT64, 1.0
    else:
        return None

    def implementation(x):
        x = select(x > most, most, x)  # nan stays
        x = select(x < least, least, x)
        biased = fma(x, log2_e, bias)  # so large that it has no fraction: n is in its lowest bits
        n = biased - bias
        r = fma(n, -ln2_rest, fma(n, -ln2, x))
        # 2**n in two factors, since it may be subnormal or overflow while the result does not.
        bits = reinterpret(biased, integer)
        first = integer((bits << mantissa_bits - 1) & exponent_bits)
        second = integer((bits << mantissa_bits) - first)
        growth = fma(fma(polynomial(r, coefficients), r, one), r, one)
        return growth * reinterpret(first, real) * reinterpret(second, real)

    return implementation


# log(x) = k*log(2) + log(1 + f), where 1 + f in [sqrt(1/2), sqrt(2)): FreeBSD's msun, e_log.c and
# e_logf.c (Copyright 1993 Sun Microsystems, freely usable), with s = f / (2 + f).

# (log(1 + s) - log(1 - s)) / s - 2, divided by s**2, as a polynomial of s**2.
_LOG_FLOAT32 = (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841)
_LOG_FLOAT64 = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)


def log(x):
    """The natural logarithm of a float32 or float64."""
    raise TypeError("only for compiled code")


@overload(log)
def _log(x):
    if x == types.float32:
        real, integer, mantissa_bits, root_half = types.float32, types.int32, 23, 0x3F3504F3
        ln2, ln2_rest = np.float32(6.9313812256e-01), np.float32(9.0580006145e-06)
        least_normal, subnormal_bits, exponent_bias = np.finfo(np.float32).tiny, 24, 127
        half, one, two, infinity, nan = map(np.float32, (0.5, 1, 2, np.inf, np.nan))
        coefficients = _LOG_FLOAT32
    elif x == types.float64:
        real, integer, mantissa_bits, root_half = types.float64, types.int64, 52, 0x3FE6A09E << 32
        ln2, ln2_rest = 6.93147180369123816490e-01, 1.90821492927058770002e-10
        least_normal, subnormal_bits, exponent_bias = np.finfo(np.float64).tiny, 53, 1023
        half, one, two, infinity, nan = 0.5, 1.0, 2.0, np.inf, np.nan
        coefficients = _LOG_FLOAT64
    else:
        return None
    dtype = type(half)
    enlarge = dtype(2.0**subnormal_bits)
    unbiased = dtype(2.0**mantissa_bits + exponent_bias)
    unbiased_subnormal = dtype(unbiased + subnormal_bits)
    one_bits, mantissa = exponent_bias << mantissa_bits, (1 << mantissa_bits) - 1
    exponent, integral = 2 * exponent_bias + 1, (exponent_bias + mantissa_bits) << mantissa_bits

    def implementation(x):
        normal = select(x < least_normal, x * enlarge, x)
        bits = reinterpret(normal, integer) + (one_bits - root_half)
        f = reinterpret(integer((bits & mantissa) + root_half), real) - one
        # The exponent in the lowest bits of a number without a fraction: no CPU need convert it.
        biased = reinterpret(integer((bits >> mantissa_bits) & exponent | integral), real)
        k = biased - select(x < least_normal, unbiased_subnormal, unbiased)
        s = f / (f + two)
        z = s * s
        square = half * f * f
        rest = s * fma(z, polynomial(z, coefficients), square)
        result = fma(k, ln2, (rest + k * ln2_rest) - square + f)
        beyond = select(x < infinity, result, x)  # inf and nan
        below = select(x == 0, -infinity, nan)
        return select(x <= 0, below, beyond)

    return implementation


# tanh(x) = (1 - e) / (1 + e), where e = exp(-2*x) for x > 0 and neither sum cancels: 1 - e is
# found from exp(r) - 1. float32 is computed in float64.

# (exp(r) - 1 - r) / r**2 with errors relative to exp(r) - 1: 0.004 * 2**-24 and 0.002 * 2**-53.
_EXPM1_FLOAT32 = (
    0.5000000046671393,
    0.16666666820232953,
    0.04166635346018658,
    0.008333272401609844,
    0.0013941109066909255,
    0.0001991449788376773,
)
_EXPM1_FLOAT64 = (
    0.5,
    0.16666666666666677,
    0.041666666666666505,
    0.008333333333321608,
    0.0013888888888962901,
    0.0001984126988620758,
    2.480158717183976e-05,
    2.7557244104577645e-06,
    2.7557402944357207e-07,
    2.5109081260623233e-08,
    2.0875326961859167e-09,
)


def tanh(x):
    """The hyperbolic tangent of a float32 or float64."""
    raise TypeError("only for compiled code")


@overload(tanh)
def _tanh(x):
    if x not in (types.float32, types.float64):
        return None
    real = x
    corrected = x == types.float64  # without it the error is 2.004 ULP
    coefficients = _EXPM1_FLOAT64 if corrected else _EXPM1_FLOAT32
    bias = 1.5 * 2**52 + 1023

    def implementation(x):
        positive = abs(types.float64(x))
        y = -2.0 * select(positive > 20.0, 20.0, positive)  # tanh(20) rounds to 1
        biased = fma(y, _LOG2_E, bias)
        n = biased - bias
        r = fma(n, -_LN2, y)  # exact; what n*log(2) has more is added at last
        power = reinterpret(types.int64(reinterpret(biased, types.int64) << 52), types.float64)
        growth = r + fma(r * r, polynomial(r, coefficients), -_LN2_REST * n)
        below = fma(growth, power, power - 1.0)
        above = fma(growth, power, power + 1.0)
        ratio = below / above
        if corrected:  # for the rounding of the quotient and of above; 1 / above is (1 - ratio) / 2
            rest = fma(growth, power, power - (above - 1.0))
            error = fma(-ratio, above, below) - ratio * rest
            ratio += error * (0.5 - 0.5 * ratio)
        return real(math.copysign(ratio, x))

    return implementation


# erf(x) / x as a polynomial of x**2 in [0, 16]: an error of 0.03 * 2**-24.
_ERF_FLOAT32 = (
    1.1283791653044442,
    -0.3761263234338544,
    0.11283750498461396,
    -0.026865122149151047,
    0.0052225418354306065,
    -0.0008536153557992599,
    0.00011985838589966454,
    -1.4643459923472144e-05,
    1.56152118573216e-06,
    -1.4433647856068442e-07,
    1.1381827771064763e-08,
    -7.484014242186303e-10,
    3.989023032710724e-11,
    -1.6651553627117993e-12,
    5.2043464487378783e-14,
    -1.1393199072119778e-15,
    1.5520699945427587e-17,
    -9.873944973597768e-20,
)
# erf(x) / x - 1 as a polynomial of x**2 in [0, 1]: an error of 0.07 * 2**-53.
_ERF_FLOAT64 = (
    0.12837916709551256,
    -0.3761263890318352,
    0.112837916709442,
    -0.026866170643113415,
    0.005223977606130842,
    -0.0008548325929766244,
    0.0001205529358693695,
    -1.4924712439534814e-05,
    1.6447132699786621e-06,
    -1.6206318752969208e-07,
    1.3710988704190523e-08,
    -7.779462971761597e-10,
)
# log(1 - erf(x)) as a polynomial of x - 1 in [0, 4.95]: an error of 0.06 * 2**-53 in erf(x).
_LOG_ERFC_FLOAT64 = (
    -1.8496055099332482,
    -2.6389675142347757,
    -0.8431072563594125,
    -0.04156109802508082,
    0.010033825179114655,
    -0.0019779012157025307,
    0.0002373164342283045,
    2.6296328718634852e-05,
    -2.7198976766992446e-05,
    9.671383607484254e-06,
    -2.1319474999481923e-06,
    2.0481824985142373e-07,
    5.800789787781384e-08,
    -3.3389738212911815e-08,
    8.518343435607181e-09,
    -1.3190241570696725e-09,
    1.1931740027834894e-10,
    -4.8646149967846115e-12,
)


def erf(x):
    """The error function of a float32 or float64."""
    raise TypeError("only for compiled code")


@overload(erf)
def _erf(x):
    if x == types.float32:
        return _erf_float32
    if x == types.float64:
        return _erf_float64
    return None


def _erf_float32(x):
    wide = types.float64(x)
    wide = select(wide > 4.0, 4.0, wide)  # erf(4) rounds to 1
    wide = select(wide < -4.0, -4.0, wide)
    return types.float32(wide * polynomial(wide * wide, _ERF_FLOAT32))


def _erf_float64(x):
    positive = abs(x)
    positive = select(positive > 5.95, 5.95, positive)  # erf(5.95) rounds to 1
    near = fma(x, polynomial(x * x, _ERF_FLOAT64), x)
    far = 1.0 - exp(polynomial(positive - 1.0, _LOG_ERFC_FLOAT64))
    return select(positive > 1.0, math.copysign(far, x), near)


def rsqrt(x):
    """1 / sqrt(x) of a float32 or float64."""
    raise TypeError("only for compiled code")


@overload(rsqrt)
def _rsqrt(x):
    if x not in (types.float32, types.float64):
        return None
    real = x
    return lambda x: real(1.0 / math.sqrt(types.float64(x)))
