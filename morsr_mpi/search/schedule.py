"""The one schedule of beams and enumeration, the same for every budget (DESIGN section 2).

Rung g = 0, 1, 2, ... has beams twice as wide as the one before, in the good orders and in as many
further ones as have paid for this target (diversity.py); then enumeration gets its share.  A
budget only says where the schedule stops, so a run with W units is an exact prefix of one with 2 W.
"""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.config import MAX_BEAM_ENTRIES
from morsr_mpi.search.diversity import COUNTS
from morsr_mpi.search.orders import BAND, DIAGONAL, NATURAL, VBLAST, OrderName

#: Children of a node that compete in a beam.
BRANCH = 8
#: Factors of the look-ahead's weights, in turn: one order gives another point with each.
GAMMAS = (0.5, 0.65, 0.35, 0.8, 0.45, 0.58, 0.25, 0.72)
FIRST_WIDTH = 16
#: Once beams cannot widen any more, the doubling goes into further orders, up to this many.
MAX_DIVERSITY = 256
#: A task is worth sending from about this many units; smaller beams share one.
MIN_TASK_UNITS = 2_000.0
TICKS_PER_UNIT = 64.0


@dataclass(frozen=True)
class BeamSpec:
    """One beam: tile order, width, children per node, weight of the look-ahead, patience of the
    walk that follows.
    """

    order: OrderName
    width: int
    branch: int
    gamma: float
    patience: int = 0

    def fields(self) -> tuple[str, int, int, int, float, int]:
        """As a task carries it."""
        order = self.order
        return (order.kind, order.seed, self.width, self.branch, self.gamma, self.patience)

    def units(self, m: int) -> float:
        """Predicted work: children and look-ahead of every node, descent, walk."""
        nodes = self.width * m
        beam = (nodes * (0.25 * m + 28.0) + 4.0 * m * m + 64.0 * m) / TICKS_PER_UNIT
        return beam + walk_units(self.patience, m)


def walk_units(patience: int, m: int) -> float:
    """Predicted work of a walk that finds something half way through its patience."""
    return (1.5 * patience * (0.85 * m + 14.0) + 12.0 * m + m * m) / TICKS_PER_UNIT


def factor_units(m: int) -> float:
    """Time of one factorisation in units: what a further tile order costs all targets together."""
    return (8.0 * m) * (8.0 * m) * (8.0 * m) / 7_500.0


def rung(
    g: int, m: int, k: int, further: int, patience: int = 0, banded: bool = False
) -> list[BeamSpec]:
    """Beams of rung g for m tiles, where k targets share the factorisations.

    Rung 0 is block Babai (width 1) and a narrow beam in the plain orders.  Later ones have beams in
    the good orders and in `further` disturbed ones, the same in every rung so that their factors
    are used again; these join once their beams outweigh the factorisation they need.  patience: of
    the walk that ends each beam. banded: the order of the band is good, the diagonal's is not.
    """
    good = (VBLAST, BAND if banded else DIAGONAL)
    if m == 1:
        return [BeamSpec(NATURAL, 1, 1, 1.0)] if g == 0 else []
    if g == 0:
        plain = [BeamSpec(order, 1, 1, 1.0) for order in (*good, NATURAL)]
        narrow = (FIRST_WIDTH, BRANCH, GAMMAS[0], patience)
        return plain + [BeamSpec(o, *narrow) for o in good]
    widest = max(FIRST_WIDTH, MAX_BEAM_ENTRIES // (8 * m))
    width = min(2 * FIRST_WIDTH << min(g, 24), widest)
    gamma = GAMMAS[g % len(GAMMAS)]
    beyond = max(0, g + 1 - (widest // FIRST_WIDTH).bit_length() + 1)  # rungs since the widest
    beams = []
    if beyond < len(GAMMAS):  # the same beam again would find the same point
        beams = [BeamSpec(order, width, BRANCH, gamma, patience) for order in good]
    if beyond > 0:
        further = min(MAX_DIVERSITY, max(COUNTS) << min(beyond, 16))
    for i in range(further):
        order = OrderName("near", i if beyond == 0 else (g << 32) + i)
        spread = BeamSpec(order, width, BRANCH, gamma, patience)
        if spread.units(m) * k >= factor_units(m):
            beams.append(spread)
    return beams or [BeamSpec(OrderName("near", g << 32), width, BRANCH, gamma, patience)]


def bundle(beams: list[BeamSpec], m: int, thrift: float) -> tuple[list[BeamSpec], float]:
    """Take the first beams that make a task of MIN_TASK_UNITS, and its predicted units.

    thrift: what beams lately cost in comparison to BeamSpec.units, which knows no pruning.
    """
    load, taken = 0.0, 0
    while taken < len(beams) and (taken == 0 or load < MIN_TASK_UNITS):
        load += thrift * beams[taken].units(m)
        taken += 1
    return beams[:taken], load


def proof_share(n: int) -> float:
    """Work of the enumeration over work of the beams: it pays where it can finish."""
    if n <= 32:
        return 1000.0  # beams have little to find, and each costs more than its ticks
    if n <= 64:
        return 10.0
    if n <= 96:
        return 6.0
    return 0.5 if n <= 112 else 0.05


#: Enumeration: budget of one task in units, children a split hands back, tasks of one batch.
FIRST_PROOF_UNITS = 4_000
MAX_PROOF_UNITS = 50_000
SPLIT = 16
MAX_PROOF_TASKS = 256
#: Chambers of one enumeration task: many are small, and a task is to fill its budget.
MIN_BUNDLE = 4
MAX_BUNDLE = 256
#: No batch adds more than this share to the work of its target, so that budgets are met closely.
BATCH_SHARE = 0.25


def proof_budget(work: int) -> int:
    """Units of one enumeration task after `work` units for its target."""
    return min(MAX_PROOF_UNITS, max(FIRST_PROOF_UNITS, work // 512))


def proof_tasks(work: int) -> int:
    """Tasks of one batch of enumeration after `work` units for its target."""
    return min(MAX_PROOF_TASKS, max(1, int(BATCH_SHARE * work) // proof_budget(work)))


#: Pulses: tasks of the first, of the widest, and units after which one is full.
FIRST_PULSE_TASKS = 16
MAX_PULSE_TASKS = 256
MIN_PULSE_UNITS = 100_000.0
MAX_PULSE_UNITS = 4_000_000.0


def pulse_width(committed_pulses: int, fixed: int | None) -> int:
    """Tasks a pulse gathers from the targets: narrow at first, doubling."""
    if fixed is not None:
        return fixed
    return min(MAX_PULSE_TASKS, FIRST_PULSE_TASKS << min(committed_pulses, 16))


def pulse_units(committed_work: int) -> float:
    """Predicted units after which a pulse takes no further batch."""
    return min(MAX_PULSE_UNITS, max(MIN_PULSE_UNITS, committed_work / 16.0))
