"""The same lines on NumPy, CuPy and PyTorch arrays: ``python docs/examples/gpu_arrays.py``.

Blurred digits are recognized by a vote of those that look alike. It runs on NumPy's arrays
everywhere; on CuPy's and PyTorch's where they and an NVIDIA GPU are there, with
``pip install "fastmat-kernels[cuda]"``. For those that are not, it says what is missing.
"""

import argparse

import numpy as np

import fastmat as fm

HEIGHT, WIDTH = 14, 10
COUNT = 2000
NOISE = 0.3  # against strokes of brightness 1
SHARPNESS = 0.15  # of the vote
LIBRARIES = ("numpy", "cupy", "torch")

# The seven strokes of a digit: top, upper left and right, middle, lower left and right, bottom.
STROKES = ("1110111", "0010010", "1011101", "1011011", "0111010",
           "1101011", "1101111", "1010010", "1111111", "1111011")  # fmt: skip


def make_digits(count=COUNT, seed=1):
    """Images (count, height, width) of digits, and which digits they are."""
    rng = np.random.default_rng(seed)
    places = (
        np.s_[2, 3:7], np.s_[3:7, 2], np.s_[3:7, 7], np.s_[7, 3:7],
        np.s_[8:12, 2], np.s_[8:12, 7], np.s_[12, 3:7],
    )  # fmt: skip
    shapes = np.zeros((10, HEIGHT, WIDTH), np.float32)
    for shape, strokes in zip(shapes, STROKES, strict=True):
        for place, there in zip(places, strokes, strict=True):
            shape[place] = int(there)
    digits = rng.integers(0, 10, count)
    shifts = rng.integers(-1, 2, count)
    images = np.stack(
        [np.roll(shapes[d], shift, axis=1) for d, shift in zip(digits, shifts, strict=True)]
    )
    images += NOISE * rng.standard_normal(images.shape, dtype=np.float32)
    return images * rng.uniform(0.5, 2, (count, 1, 1)).astype(np.float32), digits


def vote(images, votes, others, gain):
    """For each image the share of each digit among the others, by how much they look alike.

    `votes` has a 1 for the digit of each image, `others` is False where an image is held against
    itself. All are arrays of one library, and so is the result.
    """
    count, size = len(images), HEIGHT * WIDTH
    pixels = images.reshape(count, size)
    alike = fm.layer_norm(pixels, size, gain)  # neither brightness nor contrast counts
    scores = fm.matmul(alike, fm.transpose(alike))
    weights = fm.softmax(scores, mask=others)
    return fm.matmul(weights, votes)


def arguments(images, digits):
    """NumPy's arrays for `vote`."""
    votes = np.eye(10, dtype=np.float32)[digits]
    others = ~np.eye(len(images), dtype=bool)
    gain = np.full(HEIGHT * WIDTH, np.sqrt(SHARPNESS), np.float32)
    return images, votes, others, gain


def movers(library):
    """How NumPy's arrays become those of a library on a GPU, and back; or what is missing."""
    if library == "numpy":
        return np.asarray, np.asarray
    try:
        if library == "cupy":
            import cupy

            cupy.cuda.runtime.getDeviceCount()
            return cupy.asarray, cupy.asnumpy
        import torch

        if not torch.cuda.is_available():
            return "PyTorch finds no GPU"
        return lambda x: torch.from_numpy(x).cuda(), lambda x: x.cpu().numpy()
    except ImportError:
        return "is not installed"
    except Exception as error:  # CuPy's, of its driver
        return str(error).splitlines()[0]


def report(libraries, images, digits):
    """The lines that the page shows."""
    lines, first = [], None
    for library in libraries:
        found = movers(library)
        if isinstance(found, str):
            lines.append(f"{library}: {found}")
            continue
        there, back = found
        shares = back(vote(*map(there, arguments(images, digits))))
        right = (shares.argmax(1) == digits).sum()
        line = f"{library}: {right} of {len(digits)} digits are recognized"
        if first is None:
            first = shares
        else:
            line += f"; shares differ by up to {np.abs(shares - first).max():.0e}"
        lines.append(line)
    return lines


def main(given=None):
    """Print how many digits are recognized, with the arrays of each library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    libraries = parser.parse_args(given).libraries
    print("\n".join(report(libraries, *make_digits())))


if __name__ == "__main__":
    main()
