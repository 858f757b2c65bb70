"""`morsr report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument(
    "directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write there instead of into the (first) run directory.",
)
def command(directories: tuple[Path, ...], out: Path | None) -> None:
    """Make DIR/report.html and DIR/report/*.png: how a run went, on one page that works offline.

    Of a run that goes on, too. With several DIRs the page is about the first, and compares it with
    the others. What is missing is said. Exit code 65 when nothing can be shown. Needs matplotlib
    (pip install 'morsr[report]').
    """
    from morsr_mpi.app.report.write import make_report

    report = make_report(directories, out)
    for text in report.missing:
        click.echo(f"morsr: warning: not shown: {text}", err=True)
    click.echo(str(report.page))
