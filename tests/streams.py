"""Matrices that are given by their rows, in all the ways that there are."""

import itertools

import numpy as np


class Slices:
    """What h5py and zarr have in common: a shape, a dtype, and rows by slices."""

    def __init__(self, x):
        self._x = x
        self.shape, self.dtype = x.shape, x.dtype
        self.most = 0  # bytes of the largest slice

    def __getitem__(self, rows):
        found = np.array(self._x[rows])
        self.most = max(self.most, found.nbytes)
        return found


def cut(x, bounds):
    """Pieces of rows, some of them empty, some strided, some in Fortran's order."""
    bounds = [0, *sorted(bounds), len(x)]
    pieces = [x[start:stop] for start, stop in itertools.pairwise(bounds)]
    for index, piece in enumerate(pieces):
        if index % 3 == 1:
            pieces[index] = np.asfortranarray(piece)
        elif index % 3 == 2:
            pieces[index] = np.repeat(piece, 2, axis=0)[::2]
    return pieces
