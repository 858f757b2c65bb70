"""One display of progress for all layers of a job, each of which is a run of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from morsr_mpi.app.progress import ProgressLike, Reporter, ReporterLike, units_text


@dataclass(frozen=True)
class Overall:
    """Where the job stands: a `ProgressLike` of all layers together."""

    pulse: int
    targets_done: int
    targets: int
    best_objective_sum: float
    bound_sum: float
    gap: float
    work_done: int
    work_limit: int | None


class Display:
    """Shows the layers of a job one after the other. work: units of each layer, None without limit;
    names: of the layers; quiet: nothing on the stream.
    """

    def __init__(self, names: list[str], work: list[int | None], quiet: bool) -> None:
        self._names = names
        self._work = work
        self._quiet = quiet
        self._shown: Reporter | None = None
        self._told: set[str] = set()
        self.layer = 0

    def make(self, ranks: int, **options: object) -> ReporterLike:
        """Return what shows the run of the present layer."""
        if self._shown is None:
            columns = options.get("columns")
            self._shown = Reporter(
                ranks,
                columns=columns if isinstance(columns, int) else None,
                quiet=self._quiet,
                words=self._words,
            )
        log = options.get("log")
        return _LayerReporter(self, self.layer, log if callable(log) else None)

    def say(self, text: str) -> None:
        """Show one line."""
        if self._shown is not None:
            self._shown.note(text)

    def warn_once(self, text: str) -> None:
        """Show a line that every layer's run would show."""
        if text not in self._told:
            self._told.add(text)
            self.say(text)

    def update(self, now: float, layer: int, read: Callable[[], ProgressLike]) -> None:
        """Show where the job stands when it is time to."""
        if self._shown is not None:
            self._shown.update(now, lambda: self._overall(layer, read()))

    def close(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.close()

    def _overall(self, layer: int, progress: ProgressLike) -> Overall:
        limited = None not in self._work
        before = sum(work or 0 for work in self._work[:layer])
        own = min(progress.work_done, self._work[layer] or progress.work_done)
        return Overall(
            progress.pulse,
            progress.targets_done,
            progress.targets,
            progress.best_objective_sum,
            progress.bound_sum,
            progress.gap,
            before + own,
            sum(work or 0 for work in self._work) if limited else None,
        )

    def _words(self, progress: ProgressLike, rate: float, ranks: int) -> str:
        """Return one line: layer, rows, work, rate, time left."""
        limit = progress.work_limit
        of = f" of {units_text(limit)}" if limit else ""
        parts = [
            f"layer {self.layer + 1}/{len(self._names)} {self._names[self.layer]}",
            f"rows {progress.targets_done}/{progress.targets}",
            f"work {units_text(progress.work_done)}{of}",
            f"{units_text(rate)} units/s",
            f"{ranks} rank{'s' if ranks != 1 else ''}",
        ]
        if limit and rate > 0.0:
            left = int((limit - progress.work_done) / rate)
            parts.append(f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left")
        return ", ".join(parts)


class _LayerReporter:
    """What one layer's run tells: into its log, its progress into the common display."""

    def __init__(self, display: Display, layer: int, log: Callable[[str], object] | None) -> None:
        self._display = display
        self._layer = layer
        self._log = log

    def note(self, text: str) -> None:
        """Log a line; warnings are shown, once."""
        if self._log is not None:
            self._log(text)
        if text.startswith(("warning:", "stopped")):
            self._display.warn_once(text)

    def update(self, now: float, read: Callable[[], ProgressLike]) -> None:
        """Show progress."""
        self._display.update(now, self._layer, read)

    def finish(self, now: float, progress: ProgressLike, verdict: str) -> None:
        """Log the last line of the run."""
        if self._log is not None:
            self._log(f"{verdict}: work {units_text(progress.work_done)}")

    def close(self) -> None:
        """The common display stays."""
