"""The scale that keeps a layer within its budget of bits, by the coded stream itself.

A sample of rows is searched at a share of the work and really coded, at a few scales. What the
sample lacks of the whole layer is measured with nearest points, which cost next to nothing: their
streams of the sample and of the layer, at the same scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.app.entropy import encode_points
from morsr_mpi.app.rerun import explore
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.ldlq import nearest_point
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import Prepared, prepare, rescaled
from morsr_mpi.search.state import Search

#: Rows of the sample, and which part of a row's work goes into each of them.
PILOT_ROWS = 48
PILOT_SHARE = 32
#: Scale for about 2 bits per weight, in standard deviations of Gaussian weights.
SCALE_OF_TWO_BITS = 1.033
#: Kept below the budget, in bits: more work and other rows move the rate a little.
MARGIN = 0.006
TOLERANCE = 0.003
MAX_PILOTS = 6
#: Weights whose stream stands for the whole layer.
CODED_SAMPLE = 1 << 20

Doubled = NDArray[np.int32]


def solve_here(prepared: Prepared, work: int | None) -> Doubled:
    """Search all targets of a problem in this process; return doubled points [k,n]."""
    search = Search(prepared.problem, prepared, SearchOptions(work))
    explorer = Explorer(prepared.problem, prepared)
    while not search.finished:
        pulse, tasks = search.plan()
        search.commit(pulse, [explore(explorer, task) for task in tasks])
    return search.solution().doubled


def rate_of(doubled: Doubled, scale: float, columns: int) -> float:
    """Return bits per weight of a coded stream; columns: of the layer, without padding."""
    return 8.0 * len(encode_points(doubled, scale)) / float(doubled.shape[0] * columns)


def float32(value: float) -> float:
    """Return the nearest float32 value, which a coded stream holds exactly."""
    return float(np.float32(value))


def scale_within(
    whole: QuadraticProblem, columns: int, bits: float, work: int | None, say: Callable[[str], None]
) -> float:
    """Return a float32 scale at which the layer's coded stream needs just under `bits` a weight.

    whole: the layer at any scale. work: units of a row. Raises InputError for weights that are
    all zero, which have no scale.
    """
    spread = float(np.sqrt(np.mean(whole.targets[:, :columns] ** 2)))
    if spread == 0.0:
        raise InputError("all its weights are zero; leave it out of --layers, or give --scale")
    picks = np.unique(np.linspace(0, whole.k - 1, min(PILOT_ROWS, whole.k)).astype(np.int64))
    sample = QuadraticProblem(whole.Q, np.ascontiguousarray(whole.targets[picks]), whole.scale)
    prepared = prepare(sample)
    share = None if work is None else max(1, work // PILOT_SHARE)
    if share is None:  # the rate is wanted, not the optimum
        share = 100 * whole.n

    def rate(scale: float) -> float:
        at = rescaled(prepared, scale)
        found = rate_of(solve_here(at, share), scale, columns)
        found += _nearest_rate(whole, scale, columns) - _nearest_rate(at.problem, scale, columns)
        say(f"scale {scale:.6g}: {found:.3f} bits per weight expected")
        return found

    aim = bits - MARGIN
    scale = float32(SCALE_OF_TWO_BITS * spread * 2.0 ** (2.0 - bits))
    tried: list[tuple[float, float]] = []
    for _ in range(MAX_PILOTS):
        tried.append((math.log2(scale), rate(scale)))
        if abs(tried[-1][1] - aim) <= TOLERANCE:
            break
        scale = float32(2.0 ** _next(tried, aim))
    return _best(tried, aim)


def _nearest_rate(problem: QuadraticProblem, scale: float, columns: int) -> float:
    rows = max(1, CODED_SAMPLE // problem.n)
    step = max(1, problem.k // rows)
    targets = np.ascontiguousarray(problem.targets[::step])
    some = QuadraticProblem(problem.Q, targets, scale)
    return rate_of(nearest_point(some).doubled, scale, columns)


def _next(tried: list[tuple[float, float]], aim: float) -> float:
    """Return log2 of the scale to try: by the secant, or a bit for an octave at first."""
    at, rate = tried[-1]
    slope = -1.0
    if len(tried) > 1 and tried[-2][0] != at:
        slope = (rate - tried[-2][1]) / (at - tried[-2][0])
        slope = max(-1.3, min(-0.5, slope))  # short streams are rough
    return at + max(-4.0, min(4.0, (aim - rate) / slope))


def _best(tried: list[tuple[float, float]], aim: float) -> float:
    """Return the smallest scale below the aim, or nearly so; else the one with the least rate."""
    within = [at for at, rate in tried if rate <= aim + TOLERANCE]
    return float32(2.0 ** (min(within) if within else min(tried, key=lambda pair: pair[1])[0]))
