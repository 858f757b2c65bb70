"""`morsr watch`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("watch")
@click.argument("run_dir", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--every", type=click.FloatRange(0.1), default=2.0, show_default=True, metavar="S",
    help="Seconds between two looks.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Look once, then end.")
def command(run_dir: Path, every: float, once: bool) -> None:
    """Follow the run in DIR from any host that sees it, through its files alone, until it ends.

    A picture on a terminal, a plain line at each change otherwise. The run notices nothing; Ctrl-C
    ends the watch, not the run. Exit code 65 when DIR is no run directory.
    """
    from morsr_mpi.app.watch import watch

    watch(run_dir, every, once=once)
