"""The sphere bound: what an optimum costs on average, to compare with; no certificate."""

from __future__ import annotations

import math

from morsr_mpi.search.prepare import Prepared


def sphere_bound(prepared: Prepared) -> float:
    """Mean optimum over uniform targets if the cells of the lattice were balls.

    n G(n) s² det(Q)^(1/n) with G(n) = Γ(n/2+1)^(2/n) / ((n+2)π), summed over the components of Q.
    No lattice does better on average (Conway, Sloane 1999, chapter 2); a single target may.
    """
    total = 0.0
    for part in prepared.parts:
        n = part.problem.n
        log_det = 0.0
        for entry in part.rank.diag.reshape(-1, 64)[:, ::9].reshape(-1):
            log_det += 2.0 * math.log(float(entry))
        cell = math.exp(2.0 / n * math.lgamma(n / 2 + 1) + log_det / n) / ((n + 2) * math.pi)
        total += n * cell * part.unit
    return total
