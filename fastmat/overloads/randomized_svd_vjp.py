"""`randomized_svd_vjp` inside ``@njit``: `ops.svd_derivatives` is compiled as it stands."""

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from fastmat.core.compile import call_all, kernel, reads, writes
from fastmat.core.mathfn import real
from fastmat.cpu.blocking_linalg import FLOATS
from fastmat.cpu.randomized_svd_vjp import column_dots
from fastmat.cpu.views import as_any
from fastmat.ops import randomized_svd_vjp as ops
from fastmat.ops import range_finder, svd_derivatives
from fastmat.ops.low_rank import COMPUTED
from fastmat.overloads.draws import real_number
from fastmat.overloads.low_rank import as_it_stands, operand_reader
from fastmat.overloads.typing import array_type, given

for _function in (
    svd_derivatives.damped,
    svd_derivatives.phase_held,
    svd_derivatives.within_span,
    svd_derivatives.beyond_span,
    svd_derivatives.scaled_values,
    svd_derivatives.joined,
):
    as_it_stands(_function)


@overload(svd_derivatives.column_dots)
def _column_dots(x, y):
    def column_dots_of(x, y):
        found = np.empty(x.shape[1])
        call_all(column_dots, x.dtype, (as_any(x), as_any(y), as_any(found)))
        return found

    return column_dots_of


@overload(svd_derivatives.with_phase_held)
def _with_phase_held(gu, gv, u, v):
    if isinstance(u.dtype, types.Complex):
        return lambda gu, gv, u, v: svd_derivatives.phase_held(gu, gv, u, v)
    return lambda gu, gv, u, v: gu


def _types(t):
    block, values = types.Array(t, 2, "C"), types.Array(real(t), 1, "C")
    thin = block, values, block
    return reads(t, 2), types.boolean, *thin, *thin, block, real(t), writes(t, 2)


@kernel(_types, FLOATS)
def cotangent_of_matrix(
    a,  # in (m, n)
    beyond,  # whether a is looked at, for what the spans leave of it
    gu,  # in (m, k)
    gs,  # in (k,)
    gv,  # in (n, k)
    u,  # in (m, k)
    s,  # in (k,)
    v,  # in (n, k)
    vh,  # in (k, n)
    eps,
    found,  # out (m, n)
):
    """The steps of `ops.randomized_svd_vjp`, which take half a minute to compile."""
    ratios, scale = svd_derivatives.scaled_values(s)
    gu = svd_derivatives.with_phase_held(gu, gv, u, v)
    middle = svd_derivatives.within_span(gu, gs, gv, u, ratios, v, scale, eps)
    gu, gv = range_finder.without(u, gu), range_finder.without(v, gv)
    if beyond:
        p, r = svd_derivatives.beyond_span(a, gu, gv, u, ratios, v, scale, eps)
    else:
        inverse = svd_derivatives.damped(ratios, eps)
        p, r = gu * inverse, gv * inverse
    found[:] = svd_derivatives.joined(u, middle, p, r, vh, scale)


def _part(argument, part, name):
    """A function (argument, part): the cotangent of a part of the decomposition."""
    if not given(argument):
        return njit(lambda argument, part: np.zeros(part.shape, part.dtype))
    if array_type(argument, f"the cotangent of {name}").ndim != part.ndim:
        raise errors.TypingError(f"the cotangent of {name} must have {part.ndim} dimensions")
    if not np.can_cast(as_dtype(argument.dtype), as_dtype(part.dtype), "same_kind"):
        raise errors.TypingError(
            f"the cotangent of {name} has dtype {argument.dtype}; it must be one of {part.dtype}"
        )
    message = f"the cotangent of {name} must have the shape of {name}"

    def cotangent(argument, part):
        if argument.shape != part.shape:
            raise ValueError(message)
        return np.ascontiguousarray(argument.astype(part.dtype))

    return njit(cotangent)


@overload(ops.randomized_svd_vjp, prefer_literal=True)
def _randomized_svd_vjp(cotangent, x, U, S, Vh, regularization=None):
    parts = {"U": U, "S": S, "Vh": Vh}
    for name, ndim in (("U", 2), ("S", 1), ("Vh", 2)):
        if array_type(parts[name], name).ndim != ndim:
            raise errors.TypingError(f"{name} must have {ndim} dimensions")
    dtype = as_dtype(U.dtype)
    if (
        dtype.name not in COMPUTED
        or Vh.dtype != U.dtype
        or as_dtype(S.dtype) != dtype.type(0).real.dtype
    ):
        raise errors.TypingError("U, S and Vh must have the dtypes of what randomized_svd returned")
    if not isinstance(cotangent, types.BaseTuple) or len(cotangent) != 3:
        raise errors.TypingError("cotangent must be a tuple of three parts, of U, S and Vh")
    of_u, of_s, of_vh = (
        _part(argument, part, name)
        for argument, (name, part) in zip(cotangent, parts.items(), strict=True)
    )
    default = ops.REGULARIZATION * float(np.finfo(dtype).eps) ** 2
    if given(regularization):
        real_number(regularization, "regularization")

        @njit
        def damping(regularization):
            if not 0 <= regularization < np.inf:
                raise ValueError("regularization must be at least 0 and finite")
            return regularization

    else:
        damping = njit(lambda regularization: default)

    takes_matrix = given(x)
    if takes_matrix:
        matrix = operand_reader(x)

        @njit
        def operand(x, u, v):
            a = matrix(x)
            if a.shape != (u.shape[0], v.shape[0]):
                raise ValueError("x must have the shape of the product of its factors")
            return a

    else:
        operand = njit(lambda x, u, v: as_any(u))  # not looked at

    def randomized_svd_vjp(cotangent, x, U, S, Vh, regularization=None):
        if not (U.shape[1] == S.size == Vh.shape[0] and S.size > 0):
            raise ValueError("U, S and Vh must be (m, k), (k,) and (k, n)")
        u, s, vh = np.ascontiguousarray(U), np.ascontiguousarray(S), np.ascontiguousarray(Vh)
        gu, gs, gvh = of_u(cotangent[0], u), of_s(cotangent[1], s), of_vh(cotangent[2], vh)
        eps = s.dtype.type(damping(regularization))
        v, gv = np.ascontiguousarray(np.conj(vh).T), np.ascontiguousarray(np.conj(gvh).T)
        found = np.empty((u.shape[0], v.shape[0]), u.dtype)
        args = operand(x, u, v), takes_matrix, gu, gs, gv, u, s, v, vh, eps, as_any(found)
        call_all(cotangent_of_matrix, u.dtype, args)
        return found

    return randomized_svd_vjp
