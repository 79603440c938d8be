"""The table of what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastmat.comparisons import decompositions, draws, masked_reductions, moves, programs, tall
from fastmat.comparisons.parameters import OF_HEADS, PARAMETERS

Shape = tuple[int, ...]
Options = tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Case:
    """One row of the comparison: an operation on operands of these shapes.

    Parameters
    ----------
    group
        The heading that the row stands under.
    op
        Public name of the operation.
    dtype
        dtype of every operand.
    shapes
        Shapes of the operands.
    axes
        The permutation of a transpose, where it does not simply reverse the axes.
    layout
        ``"C"``; ``"reversed"`` for views with negative strides along both last axes;
        ``"channels-last"`` where the second axis of images is the innermost in memory.
    source
        ``"random"``, or ``"photo"``: the first operand holds the pixels of a photograph.
    options
        Names and values of the other arguments, which every library is given.
    clusters
        How many clusters the rows of the first operand are in, at random.
    residual
        Whether a further operand, of the shape of the first, is added to it before all else.
    masked
        Whether a mask of half of the numbers is the last operand.
    note
        What the row stands for, where operation and shapes do not say it.
    quick
        Whether ``--quick`` keeps the row.
    """

    group: str
    op: str
    dtype: str
    shapes: tuple[Shape, ...]
    axes: tuple[int, ...] | None = None
    layout: str = "C"
    source: str = "random"
    options: Options = ()
    clusters: int = 0
    residual: bool = False
    masked: bool = False
    note: str = ""
    quick: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """What an operation on groups calls its operands after the first."""
        for others in (moves.PARAMETERS, programs.PARAMETERS):
            if self.op in others:
                return others[self.op]
        more = (("residual",) if self.residual else ()) + (("mask",) if self.masked else ())
        return PARAMETERS[self.op] + more

    @property
    def title(self) -> str:
        """The row in words: operation and shapes."""
        shown = self.shapes
        if self.op in PARAMETERS:
            x = 1 if self.op == "logsumexp_vjp" or masked_reductions.is_gradient(self.op) else 0
            shown = self.shapes[x : x + 1]
        elif self.op in moves.PARAMETERS:
            shown = self.shapes[:1]
        elif programs.has(self):
            shown = self.shapes[:2]
        elif draws.has(self):
            shown = (draws.size_of(self),)
        shapes = " @ ".join("×".join(map(str, shape)) for shape in shown)
        if self.op == "vecdot":
            shapes = shapes.replace(" @ ", " · ")
        note = f", {self.note}" if self.note else ""
        return f"{self.op} {shapes}{note}"


def on_groups(
    group: str, op: str, dtype: str, shape: Shape, options: Options = (), **keywords: object
) -> Case:
    """An operation on groups of the numbers of an `x` of this shape, with all its operands."""
    of = op.removesuffix("_vjp")
    if of in ("layer_norm", "rms_norm"):
        options = (("normalized_shape", shape[-1:]), *options)
    elif "weight" not in PARAMETERS[of]:
        options = (("axis", -1), *options)
    names = ("cotangent", *PARAMETERS[op]) if op.endswith("_vjp") else ("x", *PARAMETERS[op])
    shapes = [_shape_of(name, of, shape, dict(options)) for name in names]
    shapes += [shape for name in ("residual", "masked") if keywords.get(name)]
    return Case(group, op, dtype, tuple(shapes), options=options, **keywords)  # type: ignore[arg-type]


def _shape_of(name: str, op: str, x: Shape, options: Mapping[str, Any]) -> Shape:
    """The shape of an operand of this operation, or of its gradient."""
    if name in ("x", "mask"):
        return x
    if name in ("cotangent", "result"):
        return x[:-1] if op == "logsumexp" or op in masked_reductions.PARAMETERS else x
    last_axis = op in ("layer_norm", "rms_norm")
    if name in ("mean", "rstd") and op != "batch_norm":
        if last_axis:
            return (*x[:-1], 1)
        return (x[0], options.get("num_groups", x[1]))
    return (x[-1],) if last_axis else (x[1],)  # one number for each channel


def on_clusters(
    group: str, op: str, dtype: str, shape: Shape, clusters: int, **keywords: object
) -> Case:
    """An operation on rows in so many clusters, with all its operands."""
    (n, d), statistics = shape, (clusters, shape[1])
    if op == "cluster_norm":
        shapes: tuple[Shape, ...] = (shape, (n,), (d,), (d,))
    else:
        shapes = (shape, shape, (n,), statistics, statistics, (d,))
    note = f"{clusters} clusters"
    return Case(group, op, dtype, shapes, clusters=clusters, note=note, **keywords)  # type: ignore[arg-type]


def on_heads(group: str, op: str, dtype: str, shape: Shape, **keywords: object) -> Case:
    """Attention, or its gradients, on as many queries as keys: items, heads, length, depth."""
    shapes = (shape,) * 5 + (shape[:-1],) if op.endswith("_vjp") else (shape,) * 3
    note, quick = ("causal", False) if keywords.get("options") else ("", True)
    return Case(group, op, dtype, shapes, note=note, quick=quick, **keywords)  # type: ignore[arg-type]


def _product(
    group: str, dtype: str, m: int, k: int, n: int, batch: Shape = (), **keywords: object
) -> Case:
    shapes = ((*batch, m, k), (*batch, k, n))
    return Case(group, "matmul", dtype, shapes, **keywords)  # type: ignore[arg-type]


_SIZES = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
_QUICK_SIZES = (128, 512)

SQUARES = tuple(
    _product("square products", dtype, n, n, n, quick=n in _QUICK_SIZES)
    for dtype in ("float32", "float64")
    for n in _SIZES
)

_SHAPES = (
    (20000, 64, 64, "tall"),
    (4000, 500, 30, "tall"),
    (64, 64, 20000, "wide"),
    (30, 500, 4000, "wide"),
    (2000, 8, 2000, "small K"),
    (3000, 32, 3000, "small K"),
    (50, 20000, 50, "large K"),
    (128, 100000, 128, "large K"),
    (1000, 1000, 100, "panel"),
    (997, 1009, 991, "primes"),
)

SHAPES = tuple(
    _product("other shapes", dtype, m, k, n, note=note, quick=dtype == "float32" and k == 20000)
    for dtype in ("float32", "float64")
    for m, k, n, note in _SHAPES
)

DTYPES = tuple(
    _product("other dtypes", dtype, n, n, n, quick=n == 128)
    for dtype, sizes in (
        ("bool", (512,)),
        ("int8", (512,)),
        ("int16", (512,)),
        ("int32", (128, 512)),
        ("int64", (512,)),
        ("float16", (512,)),
        ("complex64", (512,)),
        ("complex128", (512,)),
    )
    for n in sizes
)

BATCHES = (
    _product("batches", "float64", 4, 4, 4, (10000,), quick=True),
    _product("batches", "float32", 16, 16, 16, (10000,), quick=True),
    _product("batches", "float32", 128, 128, 128, (64,)),
    _product("batches", "float64", 128, 128, 128, (64,)),
    _product("one small product", "float64", 4, 4, 4, quick=True),
    _product("one small product", "float64", 16, 16, 16),
    _product("one small product", "float64", 64, 64, 64),
)

VIEWS = tuple(
    _product(
        "views with negative strides",
        dtype,
        n,
        n,
        n,
        layout="reversed",
        note="reversed",
        quick=dtype == "float32" and n == 256,
    )
    for dtype in ("float32", "float64")
    for n in (256, 1024)
)

VECTORS = tuple(
    Case("matrix times vector", op, dtype, shapes, quick=dtype == "float32" and op == "matvec")
    for dtype in ("float32", "float64")
    for op, shapes in (
        ("matvec", ((4000, 4000), (4000,))),
        ("vecmat", ((4000,), (4000, 4000))),
        ("vecdot", ((4000000,), (4000000,))),
        ("vecdot", ((10000, 400), (10000, 400))),
    )
)

TRANSPOSES = (
    Case("transposed copies", "transpose", "float32", ((4096, 4096),)),
    Case("transposed copies", "transpose", "float64", ((4096, 4096),)),
    Case("transposed copies", "transpose", "float32", ((1024, 1024),), quick=True),
    Case("transposed copies", "transpose", "uint8", ((4096, 4096),)),
    Case("transposed copies", "transpose", "float32", ((4001, 4003),), note="primes"),
    Case("transposed copies", "transpose", "float32", ((1000000, 4),), note="tall"),
    Case(
        "transposed copies",
        "transpose",
        "float32",
        ((32, 56, 56, 64),),
        axes=(0, 3, 1, 2),
        note="NHWC to NCHW",
    ),
    Case(
        "transposed copies",
        "transpose",
        "float32",
        ((32, 64, 56, 56),),
        axes=(0, 2, 3, 1),
        note="NCHW to NHWC",
    ),
    Case("transposed copies", "matrix_transpose", "float32", ((10000, 16, 16),)),
    Case("transposed copies", "matrix_transpose", "float64", ((40000, 4, 4),), quick=True),
)

# Many groups in cache, one that does not fit, and very short ones.
_GROUPS = ((8192, 1024), (1, 10**7), (10**6, 8))
_TABLE = _GROUPS[0]
_IMAGES = (64, 64, 56, 56)
_RMS: Options = (("eps", 1e-6),)  # by default it depends on the dtype
_GELU: Options = (("activation", "gelu"),)
_TRAINING: Options = (("training", True),)
_INFERENCE: Options = (("training", False),)

NORMALIZATIONS = (
    *(
        on_groups("normalization", "layer_norm", "float32", shape, quick=shape == _TABLE)
        for shape in _GROUPS
    ),
    on_groups("normalization", "layer_norm", "float64", _TABLE),
    on_groups("normalization", "layer_norm", "float16", _TABLE),
    on_groups("normalization", "layer_norm", "float32", (8, 16), note="one call"),
    on_groups("normalization", "layer_norm", "float32", _TABLE, _GELU, note="gelu"),
    *(on_groups("normalization", "rms_norm", "float32", shape, _RMS) for shape in _GROUPS),
    on_groups("normalization", "rms_norm", "float32", _TABLE, _RMS, residual=True, note="residual"),
    on_groups("normalization", "group_norm", "float32", _IMAGES, (("num_groups", 32),)),
    on_groups("normalization", "instance_norm", "float32", _IMAGES),
    on_groups(
        "normalization", "batch_norm", "float32", _IMAGES, _TRAINING, note="training", quick=True
    ),
    on_groups(
        "normalization",
        "batch_norm",
        "float32",
        _IMAGES,
        _TRAINING,
        layout="channels-last",
        note="training, NHWC",
    ),
    on_groups("normalization", "batch_norm", "float32", _IMAGES, _INFERENCE, note="inference"),
    on_groups("normalization", "normalize", "float32", _TABLE),
)

_QUICK_GRADIENTS = (("layer_norm_vjp", _TABLE), ("softmax_vjp", _TABLE))

GRADIENTS = (
    *(
        on_groups("gradients", op, "float32", shape, quick=(op, shape) in _QUICK_GRADIENTS)
        for op in ("layer_norm_vjp", "rms_norm_vjp", "softmax_vjp", "log_softmax_vjp")
        for shape in _GROUPS
    ),
    on_groups("gradients", "layer_norm_vjp", "float64", _TABLE),
    on_groups("gradients", "group_norm_vjp", "float32", _IMAGES, (("num_groups", 32),)),
    on_groups("gradients", "instance_norm_vjp", "float32", _IMAGES),
    *(
        on_groups("gradients", "batch_norm_vjp", "float32", _IMAGES, mode, layout=layout, note=note)
        for mode, layout, note in (
            (_TRAINING, "C", "training"),
            (_TRAINING, "channels-last", "training, NHWC"),
            (_INFERENCE, "C", "inference"),
        )
    ),
    on_groups("gradients", "normalize_vjp", "float32", _TABLE),
    on_groups("gradients", "logsumexp_vjp", "float32", _TABLE),
)

# Long clusters, and short ones.
_CLUSTERS = (((100_000, 64), 10), ((100_000, 64), 5000), ((20_000, 512), 100))

CLUSTERS = tuple(
    on_clusters("clusters", op, "float32", shape, clusters, quick=clusters == 10)
    for op in ("cluster_norm", "cluster_norm_vjp")
    for shape, clusters in _CLUSTERS
)

MOMENTS = (
    on_groups("moments", "moments", "float32", _TABLE, quick=True),
    on_groups("moments", "standardize", "float32", _TABLE),
)

SOFTMAX = (
    *(
        on_groups("softmax", op, "float32", shape, quick=op == "softmax" and shape == _TABLE)
        for op in ("softmax", "log_softmax")
        for shape in _GROUPS
    ),
    on_groups("softmax", "softmax", "float64", _TABLE),
    on_groups("softmax", "softmax", "float32", (8, 16), note="one call"),
    on_groups("softmax", "logsumexp", "float32", _TABLE),
    *(
        on_groups("softmax", "softmax", "float32", shape, masked=True, note="masked")
        for shape in (_TABLE, _GROUPS[2])
    ),
)

MASKED = tuple(
    on_groups("masked reductions", op, dtype, shape, quick=quick)
    for op, dtype, shape, quick in masked_reductions.ROWS
)
MOVES = tuple(Case(**fields) for fields in moves.ROWS)
ATTENTION = tuple(
    on_heads("attention", op, "float32", (1, 8, 1024, 64), options=((note, True),) if note else ())
    for op in OF_HEADS
    for note in ("", "is_causal")
)

# The photograph has 600 rows of 512 pixels of three colours.
PHOTO = (
    Case(
        "a photograph",
        "matmul",
        "float32",
        ((600, 512, 3), (3, 3)),
        source="photo",
        note="RGB to YCbCr",
        quick=True,
    ),
    Case(
        "a photograph",
        "matmul",
        "int32",
        ((600, 512, 3), (3, 3)),
        source="photo",
        note="RGB to YCbCr",
    ),
    Case(
        "a photograph",
        "transpose",
        "uint8",
        ((600, 512, 3),),
        axes=(2, 0, 1),
        source="photo",
        note="to colour planes",
    ),
    Case(
        "a photograph",
        "transpose",
        "uint8",
        ((600, 512, 3),),
        axes=(1, 0, 2),
        source="photo",
        note="mirrored",
        quick=True,
    ),
)

PROGRAMS = tuple(Case(**row) for row in programs.ROWS)
DRAWS = tuple(Case(**row) for row in draws.ROWS)
DECOMPOSITIONS = tuple(Case(**row) for row in decompositions.ROWS)
TALL = tuple(Case(**row) for row in tall.ROWS)

CASES = (
    *SQUARES,
    *SHAPES,
    *DTYPES,
    *BATCHES,
    *VIEWS,
    *VECTORS,
    *TRANSPOSES,
    *NORMALIZATIONS,
    *GRADIENTS,
    *CLUSTERS,
    *MOMENTS,
    *SOFTMAX,
    *MASKED,
    *MOVES,
    *PROGRAMS,
    *TALL,
    *ATTENTION,
    *DRAWS,
    *DECOMPOSITIONS,
    *PHOTO,
)


def select(quick: bool, ops: Sequence[str] | None) -> list[Case]:
    """The rows to run."""
    return [case for case in CASES if (case.quick or not quick) and (not ops or case.op in ops)]


def operations() -> list[str]:
    """The names of all operations compared."""
    return sorted({case.op for case in CASES})
