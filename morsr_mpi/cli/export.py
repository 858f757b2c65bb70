"""`morsr export`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("run_dir", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--agent", metavar="NAME", help="Who is responsible for the run.")
@click.option(
    "--license",
    "licence",
    metavar="URL",
    default="https://spdx.org/licenses/CC-BY-4.0",
    show_default=True,
    help="Licence of the data.",
)
def command(run_dir: Path, agent: str | None, licence: str) -> None:
    """Describe the run directory DIR as a Workflow Run RO-Crate (process profile).

    Audits DIR, then writes DIR/ro-crate-metadata.json: input, program, outcome, and every file with
    its SHA-256. Exit code 66 for a directory that does not pass the audit.
    """
    from morsr_mpi.app.export import export_run

    click.echo(f"wrote {export_run(run_dir, agent=agent, licence=licence)}")
