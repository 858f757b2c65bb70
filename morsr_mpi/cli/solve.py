"""`morsr solve`."""

from __future__ import annotations

from pathlib import Path

import click

from morsr_mpi.base.config import DEFAULT_RECHECK
from morsr_mpi.cli.options import positive, work_units


@click.command("solve")
@click.argument("problem", type=click.Path(path_type=Path))
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    required=True,
    help="New directory for result, checkpoints, journal and log.",
)
@click.option(
    "--work",
    type=work_units,
    metavar="UNITS|inf",
    default="10_000_000",
    show_default=True,
    help="Work units per target (about a microsecond of one core each); inf: until certified.",
)
@click.option(
    "--max-hours", type=positive, metavar="H", help="Stop gracefully after H hours (exit 75)."
)
@click.option(
    "--pulse-tasks",
    type=click.IntRange(1),
    metavar="W",
    help="Tasks of every pulse, instead of a width that grows with the work done.",
)
@click.option(
    "--frontier-limit",
    type=click.IntRange(1),
    metavar="C",
    default="131_072",
    show_default=True,
    help="Open chambers kept, all targets together; more are folded into fewer.",
)
@click.option(
    "--lag",
    type=click.IntRange(0),
    metavar="T",
    default=0,
    show_default=True,
    help="Pulses planned ahead of the last commit: hides slow ranks, changes what is explored.",
)
@click.option(
    "--async",
    "asynchrony",
    type=click.Choice(["ordered", "free"]),
    default="ordered",
    show_default=True,
    help="free: commit whatever is finished; results then depend on when, and are recorded.",
)
@click.option(
    "--coordinator",
    type=click.Choice(["working", "dedicated"]),
    default="working",
    show_default=True,
    help="Whether rank 0 explores too.",
)
@click.option(
    "--security",
    type=click.Choice(["off", "sign", "tls"]),
    default="sign",
    show_default=True,
    help="Sign messages and journal; with tls, encrypt what ranks say to each other too.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Certificates that prove who the ranks are (`morsr pki`); without, keys of this run.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep results of tasks in DIR, on storage of this node, and look there first.",
)
@click.option(
    "--envelope",
    type=click.Choice(["none", "hpke", "hybrid-pq", "rsa-oaep"]),
    default="none",
    show_default=True,
    help="Write checkpoints encrypted for one key (`morsr pki envelope`), and signed.",
)
@click.option(
    "--envelope-keys",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keys of envelopes, to write and to resume sealed checkpoints; default: --keys.",
)
@click.option(
    "--recheck",
    type=click.FloatRange(0.0, 1.0),
    metavar="P",
    default=DEFAULT_RECHECK,
    show_default=True,
    help="Probability with which another rank computes a task again, to find wrong ones.",
)
@click.option(
    "--redundancy",
    type=click.IntRange(1),
    metavar="R",
    default=1,
    show_default=True,
    help="Ranks that compute each task.",
)
@click.option(
    "--checkpoint-every",
    type=positive,
    metavar="S",
    default="30",
    show_default=True,
    help="Seconds between checkpoints.",
)
@click.option(
    "--hang-timeout",
    type=positive,
    metavar="S",
    default="10",
    show_default=True,
    help="A rank without progress for S seconds is killed, and the run goes on without it.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --run-dir; --work may differ.")
@click.option(
    "--trace/--no-trace",
    default=True,
    show_default=True,
    help="Leave DIR/trace.json, which Perfetto opens: what each rank was at.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.pass_context
def command(
    context: click.Context,
    problem: Path,
    run_dir: Path,
    work: int | None,
    max_hours: float | None,
    pulse_tasks: int | None,
    frontier_limit: int,
    lag: int,
    asynchrony: str,
    coordinator: str,
    security: str,
    keys: Path | None,
    cache: Path | None,
    envelope: str,
    envelope_keys: Path | None,
    recheck: float,
    redundancy: int,
    checkpoint_every: float,
    hang_timeout: float,
    resume: bool,
    trace: bool,
    as_json: bool,
) -> int:
    """Minimise PROBLEM.h5 and write DIR/result.h5; alone, or on every rank under mpirun.

    The same problem and options give the same bits on any number of ranks. SIGUSR1, a file
    DIR/STOP, --max-hours, and Ctrl-C under `morsr launch` stop at the next pulse boundary
    with a checkpoint (exit 75); --resume goes on. SIGUSR2 writes a checkpoint and goes on.
    """
    from morsr_mpi.app.main_solve import solve_command
    from morsr_mpi.app.settings import Settings

    settings = Settings(
        work=work,
        pulse_tasks=pulse_tasks,
        frontier_limit=frontier_limit,
        lag=lag,
        asynchrony=asynchrony,
        run_dir=run_dir,
        max_hours=max_hours,
        coordinator=coordinator,
        security=security,
        keys=keys,
        cache=cache,
        envelope=envelope,
        envelope_keys=envelope_keys,
        recheck=recheck,
        redundancy=redundancy,
        checkpoint_every=checkpoint_every,
        hang_timeout=hang_timeout,
        resume=resume,
        trace=trace,
    )
    debug = bool(context.find_root().params.get("debug"))
    return solve_command(problem, settings, as_json=as_json, debug=debug)
