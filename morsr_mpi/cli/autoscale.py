"""`morsr autoscale`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

share = click.FloatRange(0.0, 1.0)
seconds = click.FloatRange(0.0)


@click.command("autoscale")
@click.argument("run_dir", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--min", "least", type=click.IntRange(1), default=1, show_default=True, metavar="N")
@click.option("--max", "most", type=click.IntRange(1), default=64, show_default=True, metavar="N")
@click.option("--cpu-up", type=share, default=0.8, show_default=True, metavar="SHARE")
@click.option("--memory-up", type=share, default=0.75, show_default=True, metavar="SHARE")
@click.option("--cpu-down", type=share, default=0.3, show_default=True, metavar="SHARE")
@click.option("--memory-down", type=share, default=0.4, show_default=True, metavar="SHARE")
@click.option("--margin", type=share, default=0.05, show_default=True, metavar="SHARE")
@click.option("--hold", type=seconds, default=120.0, show_default=True, metavar="S")
@click.option("--cool-down", type=seconds, default=600.0, show_default=True, metavar="S")
@click.option("--every", type=click.FloatRange(0.1), default=10.0, show_default=True, metavar="S")
@click.option("--dry-run", is_flag=True, help="Say what would be done; do and write nothing.")
@click.option("--once", is_flag=True, help="Look until the first decision, then end.")
@click.option("--mpijob", default="", metavar="NAME", help="Tell the patch for this MPIJob.")
@click.option(
    "--slots", type=click.IntRange(1), default=2, show_default=True, metavar="N",
    help="Ranks of each worker of the MPIJob (slotsPerWorker).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at each look.")
def command(
    run_dir: Path,
    least: int,
    most: int,
    cpu_up: float,
    memory_up: float,
    cpu_down: float,
    memory_down: float,
    margin: float,
    hold: float,
    cool_down: float,
    every: float,
    dry_run: bool,
    once: bool,
    mpijob: str,
    slots: int,
    as_json: bool,
) -> None:
    """Watch the run in DIR and give its Slurm job more or fewer nodes, until the run ends.

    More (1.5 times) when processors and memory are both above --cpu-up and --memory-up for --hold
    seconds, fewer (0.7 times) when both are below --cpu-down and --memory-down; never outside --min
    and --max, and not again for --cool-down seconds. The job stops with a checkpoint, its script
    requeues it, and it goes on with the new size to the same bits. Outside Slurm it says what
    to do.
    """
    from morsr_mpi.app.autoscale import Watch
    from morsr_mpi.cluster.scaling import ScalingPolicy

    policy = ScalingPolicy(
        cpu_up, memory_up, cpu_down, memory_down, least=least, most=most, margin=margin,
        hold=hold, cool_down=cool_down,
    )  # fmt: skip
    watch = Watch(run_dir, policy, dry=dry_run, mpijob=mpijob, slots=slots)
    said = ""
    while True:
        report = watch.look()
        text = "the run says nothing of its load yet" if report is None else report.line()
        if report is not None and as_json:
            click.echo(json.dumps(report.to_json()))
        elif text != said:
            click.echo(text, err=as_json)
        said = text
        if report is not None and (watch.over(report) or (once and report.decision)):
            return
        time.sleep(every)
