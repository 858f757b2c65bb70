"""`morsr audit`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("audit")
@click.argument("run_dir", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--trust",
    metavar="FINGERPRINT|KEYFILE|CA",
    help="What is known of the run from elsewhere: the fingerprint printed at its start, a file "
    "of public keys as in DIR/keys, or a CA (its directory or certificate).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run_dir: Path, trust: str | None, as_json: bool) -> None:
    """Check offline that the run directory DIR, or all of a demo, is what its run has left.

    Chain of the journal, signatures, every file that the seal vouches for, the result against
    the journal. Exit code 0 when all is consistent; 66 with the first thing that is wrong,
    which is never repaired. Without --trust nobody has said who ran it.
    """
    from morsr_mpi.app.audit import audit_run
    from morsr_mpi.app.demo.look import is_demo, runs_of

    if is_demo(run_dir):
        if trust is not None or as_json:
            raise click.UsageError("for a demo's directory audit its run directories one by one")
        for run in runs_of(run_dir):
            inside = audit_run(run, None)
            click.echo(f"{run.name}: genesis {inside.fingerprint}, {inside.verdict}")
            for line in inside.lines:
                click.echo(f"{run.name}: {line}")
        return
    found = audit_run(run_dir, trust)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "fingerprint": found.fingerprint,
                    "sealed": found.sealed,
                    "trusted": found.trusted,
                    "checked": found.lines,
                    "verdict": found.verdict,
                }
            )
        )
        return
    click.echo(f"genesis {found.fingerprint}")
    for line in found.lines:
        click.echo(line)
    click.echo(found.verdict)
