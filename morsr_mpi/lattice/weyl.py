"""The Weyl group of E8: reflections, simple roots, folding into the fundamental chamber.

The closed fundamental chamber is the set of vectors with non-negative inner product with all
eight simple roots; every vector has exactly one image there. The order of the group is
696729600, the longest word has 120 letters (one per positive root).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice import _e8, e8, reference

#: Letters of the longest word.
MAX_WORD = 120
#: Fills the words of Folded.words after their end.
NO_LETTER = 255
#: Largest coordinate that is folded: its image must not overflow.
MAX_COORDINATE = 2.0**1000
#: Order of the group.
GROUP_ORDER = 696_729_600


class Folded(NamedTuple):
    """Folded vectors float64 (..., 8), words uint8 (..., 120), lengths uint8 (...,).

    A word lists the simple roots 0..7 in the order of reflection, then NO_LETTER.
    """

    vectors: NDArray[np.float64]
    words: NDArray[np.uint8]
    lengths: NDArray[np.uint8]


def simple_roots() -> NDArray[np.int32]:
    """The eight simple roots in Bourbaki's order, doubled, shape (8, 8), read-only."""
    return reference.SIMPLE_ROOTS


def reflect(x: ArrayLike, root: ArrayLike) -> NDArray[np.float64]:
    """Reflect vectors (..., 8) in a root (8,) given by doubled coordinates.

    v - <v, a> a, where a has squared norm 2: the published form of the operator lacks the
    division by <a, a> = 2 (paper, ALENA operator R).
    """
    v = np.asarray(x, dtype=np.float64)
    a = 0.5 * np.asarray(root, dtype=np.float64)
    # Eight products added in order, not a BLAS call, whose bits depend on the CPU.
    product = np.zeros(v.shape[:-1])
    for i in range(8):
        product = product + v[..., i] * a[i]
    return np.asarray(v - product[..., None] * a)


def replay(x: ArrayLike, word: Iterable[int]) -> NDArray[np.float64]:
    """Apply the reflections of a word, first letter first; stops at NO_LETTER."""
    v = np.asarray(x, dtype=np.float64)
    for letter in word:
        if int(letter) == NO_LETTER:
            break
        v = reflect(v, reference.SIMPLE_ROOTS[int(letter)])
    return v


def fold(x: ArrayLike, *, implementation: e8.Implementation = "kernel") -> Folded:
    """Fold vectors (..., 8) into the fundamental chamber and return the words used.

    Always reflects in the first simple root with a negative inner product. The arithmetic is
    exact on the vector rounded to 54 bits below its largest coordinate, so lattice points and
    half-integers are folded exactly, a word never exceeds 120 letters, and rounding cannot make
    it run in circles. Raises InputError for shapes other than (..., 8), for NaN and for what is
    beyond MAX_COORDINATE.
    """
    vectors = e8.as_vectors(x, keep_float32=False)
    shape = np.shape(x)[:-1]
    if not np.all(np.abs(vectors) <= MAX_COORDINATE):
        raise InputError("a vector to be folded holds NaN or a number beyond 2^1000")
    folded = np.empty_like(vectors)
    words = np.full((len(vectors), MAX_WORD), NO_LETTER, dtype=np.uint8)
    lengths = np.zeros(len(vectors), dtype=np.uint8)
    if e8.uses_kernel(implementation):
        if len(vectors):
            _e8.fold(vectors, folded, words, lengths)
    else:
        folded, listed = reference.fold(vectors)
        for row, word in enumerate(listed):
            words[row, : len(word)] = word
            lengths[row] = len(word)
    return Folded(
        folded.reshape(*shape, 8), words.reshape(*shape, MAX_WORD), lengths.reshape(shape)
    )
