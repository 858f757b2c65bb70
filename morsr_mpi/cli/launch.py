"""`morsr launch`."""

from __future__ import annotations

import click

#: Commands that run on several ranks.
LAUNCHABLE = ("solve", "quantize")


@click.command(
    "launch",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option("-n", "ranks", type=click.IntRange(1), required=True, help="Number of ranks.")
@click.option(
    "--mpirun-arg",
    "mpirun_args",
    multiple=True,
    metavar="ARG",
    help="Pass ARG to mpirun (repeat for each word, e.g. --mpirun-arg=--hostfile "
    "--mpirun-arg=hosts).",
)
@click.option(
    "--restarts",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="K",
    help="When mpirun or a host is lost, start again on what is left, at most K times.",
)
@click.argument("program", nargs=-1, type=click.UNPROCESSED, required=True)
@click.pass_context
def command(
    context: click.Context,
    ranks: int,
    mpirun_args: tuple[str, ...],
    restarts: int,
    program: tuple[str, ...],
) -> int:
    """Find mpirun, start `solve ...` or `quantize ...` on N ranks, and look after it.

    Passes what root, more ranks than cores, and fault tolerance need. The first Ctrl-C stops
    gracefully and keeps the incumbent, the second ends everything now. The exit code is that
    of the ranks.

    Example: morsr launch -n 4 -- solve problem.h5 --run-dir run
    """
    if program[0] not in LAUNCHABLE:
        raise click.UsageError(
            f"'{program[0]}' does not run on several ranks; launch can start: "
            f"{', '.join(LAUNCHABLE)}"
        )
    # What is wrong with the command line is said here, before ranks are started.
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    inner = root.command.get_command(root, program[0])
    assert inner is not None
    inner.make_context(program[0], list(program[1:]), parent=root)

    from morsr_mpi.app.launch import launch
    from morsr_mpi.app.mpirun import require_mpirun

    return launch(require_mpirun(), ranks, program, mpirun_args, restarts)
