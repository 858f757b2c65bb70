"""`morsr solve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from morsr_mpi.cli.options import work_units
from morsr_mpi.cli.run_options import run_options, settings_of


@click.command("solve")
@click.argument("problem", type=click.Path(path_type=Path))
@click.option(
    "--work",
    type=work_units,
    metavar="UNITS|inf",
    default="10_000_000",
    show_default=True,
    help="Work units per target (about a microsecond of one core each); inf: until certified.",
)
@run_options
@click.pass_context
def command(context: click.Context, /, problem: Path, work: int | None, **options: Any) -> int:
    """Minimise PROBLEM.h5 and write DIR/result.h5; alone, or on every rank under mpirun.

    The same problem and options give the same bits on any number of ranks. SIGUSR1, a file
    DIR/STOP, --max-hours, and Ctrl-C under `morsr launch` stop at the next pulse boundary
    with a checkpoint (exit 75); --resume goes on. SIGUSR2 writes a checkpoint and goes on.
    """
    from morsr_mpi.app.main_solve import solve_command

    debug = bool(context.find_root().params.get("debug"))
    settings = settings_of(work, options)
    return solve_command(problem, settings, as_json=options["as_json"], debug=debug)
