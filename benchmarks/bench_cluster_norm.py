"""Normalization within clusters, and its gradient: long clusters, short ones, wide rows.

A rate counts bytes read once and bytes written once.
"""

from fastmat.comparisons.cases import on_clusters

from .peers import LIBRARIES, Comparison

ROWS = {
    "100000x64 in 10": ((100_000, 64), 10),
    "100000x64 in 5000": ((100_000, 64), 5000),
    "20000x512 in 100": ((20_000, 512), 100),
}


class Clusters(Comparison):
    """cluster_norm and cluster_norm_vjp by given labels."""

    unit = "GB/s"
    params = (
        ("cluster_norm", "cluster_norm_vjp"),
        ("float32", "float64"),
        tuple(ROWS),
        LIBRARIES,
    )
    param_names = ("operation", "dtype", "rows", "library")

    def case(self, operation, dtype, rows):
        return on_clusters("asv", operation, dtype, *ROWS[rows])
