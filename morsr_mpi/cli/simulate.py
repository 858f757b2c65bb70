"""`morsr simulate`."""

from __future__ import annotations

import json

import click


@click.command("simulate")
@click.option("--ranks", type=click.IntRange(1, 4096), required=True, help="Number of ranks.")
@click.option("--dims", type=click.IntRange(8), help="Dimension of the recorded workload.")
@click.option(
    "--network",
    type=click.Choice(["shm", "tcp25", "hdr"]),
    default="hdr",
    show_default=True,
    help="Shared memory, 25 GbE TCP, InfiniBand HDR.",
)
@click.option(
    "--workload",
    type=click.Choice(["a", "b"]),
    default="a",
    show_default=True,
    help="a: many targets; b: one target being certified.",
)
@click.option("--byzantine", type=click.IntRange(0), help="Ranks that lie in the runs.")
@click.option("--recheck", type=click.FloatRange(0.0, 1.0), help="As for solve.")
@click.option("--runs", type=click.IntRange(0), default=4, show_default=True, help="Seeded runs.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="First seed.")
@click.option(
    "--part",
    type=click.Choice(["votes", "node", "all"]),
    default="all",
    show_default=True,
    help="What the runs exercise: agreement, whole nodes, or both.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    ranks: int,
    dims: int | None,
    network: str,
    workload: str,
    byzantine: int | None,
    recheck: float | None,
    runs: int,
    seed: int,
    part: str,
    as_json: bool,
) -> None:
    """Simulate a cluster of N ranks: seeded runs under faults, and what N ranks would reach.

    The runs check agreement, ledgers, states and progress at every step; a seed repeats its run
    to the bit. The prediction rests on a calibration file and has no parameter to tune.
    """
    from morsr_mpi.app.simulate.command import Request, simulate

    request = Request(ranks, dims, network, workload, byzantine, recheck, runs, seed, part)
    outcome = simulate(request, None if as_json else click.echo)
    if as_json:
        click.echo(json.dumps(outcome.to_json()))
