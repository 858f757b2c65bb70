"""`morsr demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option(
    "-n",
    "ranks",
    type=click.IntRange(2, 1024),
    help="Number of ranks (default: the cores of this machine, 2 to 4).",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    help="New directory for everything (default: morsr-demo-DATE-TIME here).",
)
@click.option("--quick", is_flag=True, help="A small budget: seconds, and a smaller gain.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, no table.")
def command(ranks: int | None, run_dir: Path | None, quick: bool, as_json: bool) -> None:
    """Quantise a small network on real data and show the gain: no network, no cluster needed.

    Trains on handwritten digits, rounds the weights to points of an E8 lattice on several MPI
    ranks, and compares with the roundings in use today. Takes a minute or two.
    """
    import datetime
    import json

    from rich.console import Console

    from morsr_mpi.app.demo.jobs import choose_jobs, require_plain_start
    from morsr_mpi.app.demo.run import QUICK_WORK, WORK, run_demo
    from morsr_mpi.app.demo.table import show
    from morsr_mpi.app.mpirun import usable_cores

    require_plain_start()

    def say(text: str) -> None:
        click.echo(f"morsr demo: {text}", err=True)

    root = run_dir or Path(f"morsr-demo-{datetime.datetime.now():%Y%m%d-%H%M%S}")
    solve, count = choose_jobs(ranks or max(2, min(usable_cores(), 4)), say)
    report = run_demo(root, count, QUICK_WORK if quick else WORK, solve, say)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        show(report, Console())
