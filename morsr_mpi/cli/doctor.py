"""`morsr doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("doctor")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    default=Path("."),
    help="Where run directories will be (default: here).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--ready", is_flag=True, help="Exit with 64 where a rank could not work here.")
def command(run_dir: Path, as_json: bool, ready: bool) -> int:
    """Say what this machine offers (MPI, cores, CPU, HDF5, Slurm, disks) and lacks.

    --ready is for probes of containers and prologues of batch jobs.
    """
    from morsr_mpi.app.doctor import examine, is_ready, to_json
    from morsr_mpi.base.errors import EXIT_OK, EXIT_USAGE

    checks = []
    for check in examine(run_dir):
        checks.append(check)
        if not as_json:
            mark = click.style("ok  ", fg="green") if check.ok else click.style("warn", fg="yellow")
            click.echo(f"{mark}  {check.name:<16} {check.value}")
            if check.advice:
                click.echo(f"      {'':<16} -> {check.advice}")
    if as_json:
        click.echo(json.dumps(to_json(checks)))
        return EXIT_OK if not ready or is_ready(checks) else EXIT_USAGE
    warnings = sum(not check.ok for check in checks)
    click.echo(
        "nothing to worry about"
        if not warnings
        else f"{warnings} warning{'s' if warnings != 1 else ''}; everything else is fine"
    )
    return EXIT_OK if not ready or is_ready(checks) else EXIT_USAGE
