"""The handwritten digits that come with the package (attribution: NOTICE beside this file)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

#: Images kept back: the network never sees them before its accuracy is measured.
HELD_OUT = 500
#: Seed of the fixed shuffle that separates training from held-out images.
SPLIT_SEED = 20240117
#: The largest pixel value in the archive.
PIXEL_MAX = 16.0


@dataclass(frozen=True)
class Digits:
    """Images as float64 in [0, 1] with shape [images, 64]; labels int64 0 to 9."""

    train_images: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float64]
    test_labels: NDArray[np.int64]


def load_digits() -> Digits:
    """Return the 1797 UCI digits (8 x 8 pixels), split into 1297 and 500 by a fixed shuffle."""
    archive = resources.files("morsr_mpi.app.demo").joinpath("digits.npz")
    with archive.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        pixels = stored["pixels"].astype(np.float64) / PIXEL_MAX
        labels = stored["labels"].astype(np.int64)
    # The file is grouped by writer, so its tail would not be a fair sample of the whole.
    order = np.random.Generator(np.random.PCG64(SPLIT_SEED)).permutation(len(labels))
    pixels, labels = pixels[order], labels[order]
    return Digits(
        train_images=pixels[HELD_OUT:],
        train_labels=labels[HELD_OUT:],
        test_images=pixels[:HELD_OUT],
        test_labels=labels[:HELD_OUT],
    )
