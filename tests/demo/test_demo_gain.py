"""What the demo is for: the engine's proxy loss is below LDLQ's with descent on every layer."""

from __future__ import annotations

import numpy as np

from morsr_mpi.app.demo.data import load_digits
from morsr_mpi.app.demo.layers import make_layers
from morsr_mpi.app.demo.methods import BASELINES, LDLQ, outcome_of
from morsr_mpi.app.demo.network import train
from morsr_mpi.app.demo.run import QUICK_WORK
from morsr_mpi.app.rerun import explore
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search


def searched(problem: QuadraticProblem, work: int) -> Solution:
    """Run the search of a problem in one loop, without ranks."""
    prepared = prepare(problem)
    search = Search(problem, prepared, SearchOptions(work=work))
    explorer = Explorer(problem, prepared)
    while not search.finished:
        pulse, tasks = search.plan()
        results = [explore(explorer, task) for task in tasks]
        search.commit(pulse, results)
    return search.solution()


def test_proxy_loss_is_below_ldlq_on_every_layer() -> None:
    digits = load_digits()
    for layer in make_layers(train(digits), digits.train_images):
        theirs = outcome_of(layer, BASELINES[LDLQ](layer.problem).doubled, 0.0)
        found = searched(layer.problem, QUICK_WORK)
        ours = outcome_of(layer, found.doubled, 0.0)
        # Measured: 39, 53 and 50 % lower. Training differs in its last bits between machines.
        assert ours.proxy_loss < 0.8 * theirs.proxy_loss
        assert ours.damped_loss < 0.8 * theirs.damped_loss
        # No better by spending more bits.
        assert ours.bits_per_weight < 1.05 * theirs.bits_per_weight
        if layer.problem.n <= 16:
            assert np.all(found.certified == 1)
