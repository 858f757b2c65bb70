"""`morsr plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from morsr_mpi.cli.options import work_units

if TYPE_CHECKING:
    from morsr_mpi.app.plan import Plan


@click.command("plan")
@click.argument("problem", type=click.Path(path_type=Path))
@click.option("-n", "ranks", type=click.IntRange(1), required=True, help="Number of ranks.")
@click.option(
    "--work",
    type=work_units,
    metavar="UNITS|inf",
    default="10_000_000",
    show_default=True,
    help="As for solve.",
)
@click.option("--pulse-tasks", type=click.IntRange(1), help="As for solve.")
@click.option("--frontier-limit", type=click.IntRange(1), default="131_072", help="As for solve.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    problem: Path,
    ranks: int,
    work: int | None,
    pulse_tasks: int | None,
    frontier_limit: int,
    as_json: bool,
) -> None:
    """Say what PROBLEM will need on N ranks: memory, time, and whether they all have work.

    Nothing is written. Takes the factorisation and two seconds on one core.
    """
    from morsr_mpi.app.plan import begin_plan, complete_plan
    from morsr_mpi.search.options import SearchOptions

    options = SearchOptions(work=work, pulse_tasks=pulse_tasks, frontier_limit=frontier_limit)
    loaded, plan = begin_plan(problem, ranks, options)
    if not as_json:
        click.echo(
            f"problem        {problem}: n = {plan.n} ({plan.n // 8} tiles), k = {plan.k} "
            f"target{'s' if plan.k != 1 else ''}, scale {plan.scale:g}"
        )
        click.echo(f"digest         {plan.problem_digest}")
        click.echo(f"memory         {_memory(plan)}")
    complete_plan(loaded, options, plan)
    if as_json:
        click.echo(json.dumps(plan.to_json()))
    else:
        _show(plan)


def _show(plan: Plan) -> None:
    from morsr_mpi.app.progress import units_text

    click.echo(f"factorisation  {plan.prepare_seconds:.2f} s, tolerance {plan.tolerance:.2g}")
    click.echo(
        f"pulses         {', '.join(str(x) for x in plan.pulse_tasks[:8])} tasks at first, up to "
        f"{max(plan.pulse_tasks, default=0)} after {len(plan.pulse_tasks)}; now they feed about "
        f"{plan.ranks_fed} rank{'s' if plan.ranks_fed != 1 else ''}"
    )
    click.echo(f"speed          {units_text(plan.units_per_second)} units/s on one core here")
    if plan.trial_finished:
        click.echo(f"memory         {_memory(plan)} after all")
        click.echo(f"time           {plan.seconds:.2g} s: this is solved at once")
    elif plan.seconds is None:
        click.echo("time           until certified: with --work inf nobody can say how long")
    else:
        click.echo(
            f"time           about {_duration(plan.seconds)} for "
            f"{units_text(float(plan.work or 0))} units per target on {plan.ranks} "
            f"rank{'s' if plan.ranks != 1 else ''} with a core each; less when it is certified "
            "earlier"
        )
    for text in plan.warnings:
        click.echo(f"warning        {text}")


def _memory(plan: Plan) -> str:
    """Return the memory of one rank, of a node, and of all on one node."""
    each, shared = plan.memory_bytes_per_rank, plan.memory_bytes_shared
    total = shared + each * plan.ranks
    common = f"{shared / 2**20:.0f} MiB per node and " if shared else ""
    return f"{common}{each / 2**20:.0f} MiB per rank, {total / 2**30:.2f} GiB for {plan.ranks}"


def _duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
