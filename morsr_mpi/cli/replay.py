"""`morsr replay`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("replay")
@click.argument("run_dir", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="K",
    help="Execute K recorded tasks again, drawn at random.  [default: 100]",
)
@click.option("--all", "everything", is_flag=True, help="Execute every task again, in order.")
@click.option("--task", metavar="ID", help="Execute the task with this computation id (or start).")
@click.option(
    "--problem",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The problem, where DIR does not hold a copy.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --sample: go through the whole journal, with results from this cache for the rest.",
)
@click.option("--seed", type=int, help="Draw the same sample as a run that printed this seed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run_dir: Path,
    sample: int | None,
    everything: bool,
    task: str | None,
    problem: Path | None,
    cache: Path | None,
    seed: int | None,
    as_json: bool,
) -> int:
    """Execute recorded tasks of the run directory DIR again and compare every bit.

    On this machine alone, or on any number of ranks under mpirun. Exit code 0 when everything is as
    recorded, 66 with the first thing that is not.
    """
    from morsr_mpi.app.main_replay import replay_command

    if sum((sample is not None, everything, task is not None)) > 1:
        raise click.UsageError("--sample, --all and --task exclude each other")
    if cache is not None and (everything or task is not None):
        raise click.UsageError("--cache goes with --sample: --all executes every task")
    return replay_command(
        run_dir,
        sample=None if everything else sample or 100,
        task=task,
        problem=problem,
        cache=cache,
        seed=seed,
        as_json=as_json,
    )
