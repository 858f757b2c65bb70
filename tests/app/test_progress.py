"""Progress lines, and the bar on a terminal."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

from morsr_mpi.app import progress


@dataclass(frozen=True)
class Where:
    """As `search.state.Progress`."""

    pulse: int = 3
    targets_done: int = 0
    targets: int = 1
    best_objective_sum: float = 12.5
    bound_sum: float = 10.0
    gap: float = 0.2
    work_done: int = 2_000_000
    work_limit: int | None = 10_000_000


def test_a_line_says_where_the_run_stands() -> None:
    assert progress.describe(Where(), 1.5e6, 4) == (
        "pulse 3, incumbent 12.5, bound 10, gap 20%, work 2M of 10M, 1.5M units/s, 4 ranks"
    )
    many = replace(
        Where(), targets=3, best_objective_sum=float("inf"), gap=float("inf"), work_limit=None
    )
    assert progress.describe(many, 0.0, 1) == (
        "pulse 3, targets 0/3, incumbent none yet, bound 10, gap open, work 2M, 0 units/s, 1 rank"
    )


def test_plain_lines_come_every_few_seconds_and_go_to_the_log() -> None:
    stream, log = io.StringIO(), list[str]()
    reporter = progress.Reporter(2, log=log.append, stream=stream)
    asked = []

    def read() -> Where:
        asked.append(1)
        return Where()

    for tick in range(101):
        reporter.update(0.1 * tick, read)
    reporter.finish(10.1, Where(), "certified")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("morsr: certified: pulse 3,")
    assert [f"morsr: {text}" for text in log] == lines
    assert len(asked) == 3


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    reporter = progress.Reporter(1, stream=stream, quiet=True, columns=80)
    for tick in range(20):
        reporter.update(float(tick), Where)
    reporter.finish(20.0, Where(), "certified")
    assert stream.getvalue() == ""


def test_on_a_terminal_there_is_a_bar_and_one_final_line() -> None:
    stream = io.StringIO()
    reporter = progress.Reporter(1, stream=stream, columns=150)
    for tick in range(3):
        reporter.update(float(tick), Where)
    reporter.finish(3.0, Where(), "certified")
    assert "incumbent 12.5" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()
    assert stream.getvalue().rstrip().splitlines()[-1].endswith("1 rank")
