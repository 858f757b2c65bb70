"""`morsr inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from morsr_mpi.base.errors import EXIT_OK, EXIT_TAMPERED


@click.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Verify digests, checksums and the journal's chain.")
@click.option("--records", is_flag=True, help="List the task records of a run by rank.")
@click.option("--pulse", type=click.IntRange(0), metavar="P", help="List the records of one pulse.")
@click.option("--task", metavar="ID", help="Explain the record of one computation.")
def command(path: Path, check: bool, records: bool, pulse: int | None, task: str | None) -> int:
    """Explain a problem, result or checkpoint FILE, a run DIRectory, a cache, or what a demo left.

    Exit code 65 for a file that is damaged or none of morsr, 66 when anything in a run
    directory is wrong.
    """
    from morsr_mpi.app.demo.look import inspect_demo, is_demo
    from morsr_mpi.app.inspect import inspect_file, show
    from morsr_mpi.app.inspect_ledger import inspect_cache, inspect_records, inspect_task, is_cache
    from morsr_mpi.app.inspect_run import inspect_run

    if task is not None:
        found = inspect_task(path, task, check=check)
    elif records or pulse is not None:
        found = inspect_records(path, pulse)
    elif path.is_dir() and is_cache(path):
        found = inspect_cache(path, check=check)
    elif path.is_dir():
        look = inspect_demo if is_demo(path) else inspect_run
        found = look(path, check=check)
    else:
        found = inspect_file(path, check=check)
    for line in show(found):
        click.echo(line)
    for text in found.wrong:
        click.echo(f"morsr: error: {text}", err=True)
    if check and not found.wrong:
        click.echo("everything that was checked agrees")
    return EXIT_TAMPERED if found.wrong else EXIT_OK
