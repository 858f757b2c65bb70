"""Progress of a run on rank 0: a live bar on a terminal, a plain line every few seconds else.

Everything goes to standard error; standard output is for results.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

#: Between two plain lines; a log of a day stays below 20 000 of them.
LINE_SECONDS = 5.0
#: Between two updates of the bar.
BAR_SECONDS = 0.2


class ProgressLike(Protocol):
    """Where a search stands (`search.state.Progress`)."""

    @property
    def pulse(self) -> int: ...
    @property
    def targets_done(self) -> int: ...
    @property
    def targets(self) -> int: ...
    @property
    def best_objective_sum(self) -> float: ...
    @property
    def bound_sum(self) -> float: ...
    @property
    def gap(self) -> float: ...
    @property
    def work_done(self) -> int: ...
    @property
    def work_limit(self) -> int | None: ...


def units_text(units: float) -> str:
    """Return a number of work units for people: 950, 12.3k, 4.56M, 7.89G."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if units >= size:
            return f"{units / size:.3g}{suffix}"
    return f"{units:.0f}"


def describe(progress: ProgressLike, rate: float, ranks: int) -> str:
    """Return one line: pulse, incumbent, bound, gap, work, rate in units per second, ranks."""
    gap = f"{100.0 * progress.gap:.3g}%" if math.isfinite(progress.gap) else "open"
    best = progress.best_objective_sum
    parts = [
        f"pulse {progress.pulse}",
        f"incumbent {best:.8g}" if math.isfinite(best) else "incumbent none yet",
        f"bound {progress.bound_sum:.8g}",
        f"gap {gap}",
        f"work {units_text(progress.work_done)}"
        + (f" of {units_text(progress.work_limit)}" if progress.work_limit else ""),
        f"{units_text(rate)} units/s",
        f"{ranks} rank{'s' if ranks != 1 else ''}",
    ]
    if progress.targets > 1:
        parts.insert(1, f"targets {progress.targets_done}/{progress.targets}")
    return ", ".join(parts)


class ReporterLike(Protocol):
    """What shows progress: `Reporter`, and what puts a run into a larger frame."""

    def note(self, text: str) -> None:
        """Show one line of its own, and log it."""

    def update(self, now: float, read: Callable[[], ProgressLike]) -> None:
        """Show where the search stands when it is time to."""

    def finish(self, now: float, progress: ProgressLike, verdict: str) -> None:
        """Leave a final line."""

    def close(self) -> None:
        """Take the bar away."""


class Reporter:
    """Shows progress until closed. log: also gets the plain lines (the run directory's).

    columns: of a terminal behind pipes (see `environment.launch_columns`), None to look at
    the stream itself. quiet: nothing on the stream at all. words: of progress, units per second
    and ranks, instead of `describe`.
    """

    def __init__(
        self,
        ranks: int,
        *,
        log: Callable[[str], object] | None = None,
        stream: TextIO | None = None,
        columns: int | None = None,
        quiet: bool = False,
        words: Callable[[ProgressLike, float, int], str] | None = None,
    ) -> None:
        self._ranks = ranks
        self._words = words or describe
        self._log = log
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._columns = columns
        live = bool(columns) or (columns is None and self._stream.isatty())
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._wants_bar = live and not quiet
        self._start: tuple[float, int] | None = None
        self._next_line = 0.0
        self._next_bar = 0.0
        self._last_logged = ""

    def note(self, text: str) -> None:
        """Show one line of its own, and log it."""
        if self._log is not None:
            self._log(text)
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"morsr: {text}", file=self._stream, flush=True)

    def update(self, now: float, read: Callable[[], ProgressLike]) -> None:
        """Show where the search stands when it is time to; `read` is called only then.

        now: monotonic seconds.
        """
        if self._start is None:
            first = read()
            self._start = (now, first.work_done)
            self._next_line = now + LINE_SECONDS
            if self._wants_bar:
                self._open_bar()
        bar_due = self._bar is not None and now >= self._next_bar
        line_due = now >= self._next_line
        if not bar_due and not line_due:
            return
        progress = read()
        text = self._words(progress, self._rate(now, progress.work_done), self._ranks)
        if bar_due:
            self._show_bar(now, progress, text)
        if line_due:
            self._next_line = now + LINE_SECONDS
            if self._log is not None:
                self._log(text)
            if self._bar is None and not self._quiet:
                print(f"morsr: {text}", file=self._stream, flush=True)

    def finish(self, now: float, progress: ProgressLike, verdict: str) -> None:
        """Take the bar away and leave one final line."""
        self.close()
        text = self._words(progress, self._rate(now, progress.work_done), self._ranks)
        self.note(f"{verdict}: {text}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _rate(self, now: float, work: int) -> float:
        """Return work units per second since the start of this run."""
        if self._start is None or now <= self._start[0]:
            return 0.0
        return max(0, work - self._start[1]) / (now - self._start[0])

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = (
            Console(file=self._stream, force_terminal=True, width=max(40, self._columns - 1))
            if self._columns
            else Console(file=self._stream)
        )
        self._bar = Progress(
            TimeElapsedColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar.start()
        self._task = self._bar.add_task("starting", total=None)

    def _show_bar(self, now: float, progress: ProgressLike, text: str) -> None:
        assert self._bar is not None
        assert self._task is not None
        self._next_bar = now + BAR_SECONDS
        limit = progress.work_limit
        self._bar.update(
            self._task,
            description=text,
            total=float(limit) if limit else None,
            completed=float(min(progress.work_done, limit)) if limit else 0.0,
        )
        self._bar.refresh()
