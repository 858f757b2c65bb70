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
def command(run_dir: Path, as_json: bool) -> None:
    """Say what this machine offers (MPI, cores, CPU, HDF5, Slurm, disks) and lacks."""
    from morsr_mpi.app.doctor import examine, to_json

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
        return
    warnings = sum(not check.ok for check in checks)
    click.echo(
        "nothing to worry about"
        if not warnings
        else f"{warnings} warning{'s' if warnings != 1 else ''}; everything else is fine"
    )
