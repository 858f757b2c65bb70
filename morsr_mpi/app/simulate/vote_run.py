"""One seeded run of agreement among members that crash, restart and lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from morsr_mpi.app.simulate.cut import Cut, draw_cut
from morsr_mpi.app.simulate.faults import FaultyConduct, draw_plan, stream
from morsr_mpi.app.simulate.liars import TRICKS, Conspiracy
from morsr_mpi.app.simulate.node_run import RunReport, draw_size
from morsr_mpi.app.simulate.replica import MAX_BATCH, sequential
from morsr_mpi.app.simulate.vote_truth import VoteTruth
from morsr_mpi.app.simulate.vote_world import VoteWorld
from morsr_mpi.consensus.quorum import max_faulty

#: Faults of the network and of honest ranks in these runs.
VOTE_FAULTS = (
    *("delay", "loss", "duplication", "reordering", "damage", "partition", "pause", "straggler"),
)
#: Virtual seconds after healing in which every honest rank must have seen all decisions.
PROGRESS_SECONDS = 240.0
#: Decisions on steps that every run has to take.
LEAST_STEPS = 8


@dataclass(frozen=True)
class Cast:
    """Who does what in a run. liars: tricks by rank; crashes: (time, rank); restart: when the
    whole job starts again from a checkpoint, None for never; patience: seconds a primary is given
    at first. A patience shorter than the network's delays makes views change in the middle of
    decisions, which is where agreement is hardest."""

    size: int
    liars: dict[int, frozenset[str]] = field(default_factory=dict)
    crashes: tuple[tuple[float, int], ...] = ()
    restart: float | None = None
    steps: int = LEAST_STEPS
    recheck: float = 1.0
    collector_above: int = 16
    patience: float = 0.25
    cut: Cut | None = None


def draw_cast(seed: int, size: int, byzantine: int | None, span: float, recheck: float) -> Cast:
    """Draw who lies and who crashes: together at most f. byzantine: liars, default drawn."""
    draw = stream(seed, "cast")
    f = max_faulty(size)
    liars = draw.choice((0, f, f, draw.randint(0, f))) if byzantine is None else byzantine
    crashes = draw.randint(0, f - liars) if liars < f else 0
    order = list(range(size))
    draw.shuffle(order)
    if liars and draw.random() < 0.5:  # the first coordinators are worth more to a liar
        order.sort(key=lambda rank: rank >= 2 * liars)
    tricks = list(TRICKS)
    playing = {
        rank: frozenset(draw.sample(tricks, draw.choice((1, 1, 2, 3)))) for rank in order[:liars]
    }
    dying = tuple((draw.uniform(0.0, span), rank) for rank in order[liars : liars + crashes])
    restart = draw.uniform(0.3, 1.0) * span if draw.random() < 0.15 else None
    return Cast(
        size,
        playing,
        tuple(sorted(dying)),
        restart,
        steps=draw.randint(LEAST_STEPS, LEAST_STEPS + 1),
        recheck=recheck,
        collector_above=draw.choice((4, 16, 64)),
        patience=draw.choice((0.003, 0.01, 0.03, 0.25)),
        cut=draw_cut(draw, size, LEAST_STEPS) if draw.random() < 0.3 else None,
    )


def run_votes(
    seed: int,
    size: int | None = None,
    byzantine: int | None = None,
    recheck: float = 1.0,
    real_keys: bool = False,
) -> RunReport:
    """Run one seed. size: ranks, default drawn; byzantine: liars, at most f, default drawn."""
    size = draw_size(seed) if size is None else size
    span = stream(seed, "span").uniform(0.05, 0.8)
    cast = draw_cast(seed, size, byzantine, span, recheck)
    conduct = FaultyConduct(seed, draw_plan(seed, size, span, VOTE_FAULTS))
    return watch_votes(seed, cast, conduct, real_keys)


def watch_votes(
    seed: int,
    cast: Cast,
    conduct: FaultyConduct,
    real_keys: bool = False,
    bound: float = PROGRESS_SECONDS,
) -> RunReport:
    """Run a cast through a network and check every invariant at every step.

    bound: seconds from healing until every honest living rank must be done.
    """
    states = sequential(4 * MAX_BATCH * (cast.steps + 8))
    truth = VoteTruth(list(cast.liars), cast.size, states)
    truth.strict = cast.recheck >= 1.0 or "wrong exhausted" not in _all_tricks(cast)
    plot = Conspiracy()
    world = VoteWorld(seed, cast.size, conduct, truth, plot, cast.patience, cast.cut, real_keys)
    world.open(cast.liars, cast.steps, cast.recheck, cast.collector_above)
    for when, rank in cast.crashes:
        world.crash(when, rank)
    if cast.restart is not None:
        world.restart(cast.restart)
    world.run(conduct.plan.heal_at + (cast.cut.seconds if cast.cut else 0.0) + bound)
    for member in world.honest():
        truth.invariants.check(
            "progress",
            member.done,
            f"rank {member.rank} has seen {member.replica.steps} of {cast.steps} steps "
            f"{bound:g} s after healing",
        )
        truth.invariants.check(
            "answer",
            not truth.strict or member.replica.state == states[member.replica.pulse],
            f"rank {member.rank} ends in another state than a sequential run",
        )
    effects: Counter[str] = Counter(conduct.effects)
    effects.update(plot.played)
    effects.update(world.effects)
    if cast.cut is not None:
        effects["cut"] = cast.cut.effects
    lies, caught = world.lies()
    done = [member.replica.steps for member in world.honest()]
    return RunReport(
        seed,
        cast.size,
        min(done, default=0),
        effects,
        truth.invariants.checked,
        truth.invariants.violations,
        world.trace,
        world.queue.now,
        {
            "claims lied": lies,
            "claims caught": caught,
            "undetected": truth.undetected,
            "views": truth.views,
            "messages": world.messages,
            "stalls": len(truth.stalls),
        },
    )


def _all_tricks(cast: Cast) -> set[str]:
    return {trick for tricks in cast.liars.values() for trick in tricks}
