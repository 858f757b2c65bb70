"""Metrics and trace of a run: every rank writes its own figures, the chief merges them.

`DIR/telemetry/` holds a small file of figures and one of spans for each rank while a run goes on;
the chief makes `metrics.prom`, `metrics.jsonl` and, at the end, `trace.json` of them. All of it is
written by threads of their own, and nothing that goes wrong here ever ends a run.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morsr_mpi.app.files import replace_file
from morsr_mpi.app.hooks import Hooks
from morsr_mpi.app.keeper import Writer
from morsr_mpi.app.metrics import (
    NOTHING,
    RankFigures,
    Standing,
    Totals,
    history_line,
    measure,
    prometheus_text,
)
from morsr_mpi.app.recorder import Pace, Recorder
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.spans import CHECKPOINT, Spans
from morsr_mpi.app.trace import write_trace
from morsr_mpi.base import config
from morsr_mpi.base.ports import Clock
from morsr_mpi.node.core import Node
from morsr_mpi.node.effects import Contributed
from morsr_mpi.search.state import Search

HISTORY_VERSION = 1


def figures_file(run: RunDirectory, rank: int) -> Path:
    """Return where a rank tells its figures."""
    return run.telemetry / f"rank-{rank:05d}.json"


def spans_file(run: RunDirectory, rank: int) -> Path:
    """Return where a rank keeps its spans."""
    return run.telemetry / f"rank-{rank:05d}.spans"


@dataclass
class History:
    """The chief's memory of the figures: the window of rates, and how it all began."""

    begin: float
    first: Standing | None = None

    def __post_init__(self) -> None:
        self.window: deque[tuple[float, Totals]] = deque([(self.begin, NOTHING)])
        self.busy: dict[int, float] = {}
        self.at = self.begin

    def slide(self, now: float, totals: Totals) -> tuple[float, Totals]:
        """Return begin and totals of the window that ends now."""
        self.window.append((now, totals))
        while len(self.window) > 2 and now - self.window[1][0] >= config.METRICS_WINDOW_SECONDS:
            self.window.popleft()
        return self.window[0]

    def shares(self, now: float, totals: Totals) -> list[float]:
        """Return for each rank the share of the time since the last call that it had a task."""
        length, self.at = max(now - self.at, 1e-9), now
        ranks = sorted(totals.busy)[: config.METRICS_RANKS]
        found = [
            round(min(1.0, max(0.0, totals.busy[r] - self.busy.get(r, 0.0)) / length), 3)
            for r in ranks
        ]
        self.busy = totals.busy
        return found


class Telemetry:
    """Of one process of a run: the recorders of its ranks; on the chief, what becomes of them.

    Without a run directory it does nothing.
    """

    def __init__(
        self, path: Path | None, clock: Clock, size: int, trace: bool, warn: Callable[[str], None]
    ) -> None:
        """size: ranks of the run; trace: whether spans are kept; warn: gets one line."""
        self._run = RunDirectory(path) if path is not None else None
        self._clock, self._warn = clock, warn
        self._trace = trace
        self._limit = config.TRACE_SPANS // max(1, size)
        self._recorders: dict[int, Recorder] = {}
        self._writer: Writer | None = None
        self._told, self._merged = Pace(clock), Pace(clock)
        self._spans_due = clock.now() + config.TRACE_SECONDS
        self._history: History | None = None
        self._token, self._start = "", 0
        self._stored: list[tuple[float, float, int]] = []
        self._cost = 0.0

    def recorder(self, rank: int, token: str) -> Recorder | None:
        """Return the recorder of a rank of this process. token: names this start of the run."""
        if self._run is None:
            return None
        if rank not in self._recorders:
            spans = Spans(self._limit) if self._trace else None
            self._recorders[rank] = Recorder(rank, self._clock, spans)
        self._recorders[rank].token = self._token = token
        return self._recorders[rank]

    def fail(self, text: str) -> None:
        """Something went wrong in the run: a line of the trace."""
        for recorder in list(self._recorders.values())[:1]:
            if recorder.spans is not None:
                recorder.spans.fail(self._clock.now(), text[: config.TRACE_TEXT_CHARACTERS])

    def checkpoint(self, begin: float, seconds: float, pulse: int) -> None:
        """A checkpoint was written, from the writer's thread. Monotonic seconds."""
        self._stored.append((begin, seconds, pulse))

    # --- while the run goes on -------------------------------------------------------------
    def look(self, now: float) -> None:
        """On every rank, between two events: tell figures when it is time to."""
        if self._run is None or not self._recorders or not self._told.due(now, self._cost):
            return
        begin = self._clock.cpu()
        spans = now >= self._spans_due
        self._submit("metrics of a rank", self._telling(spans=spans))
        if spans:
            self._spans_due = now + config.TRACE_SECONDS
        self._told.done(now)
        self._charge(self._clock.cpu() - begin)

    def merge(self, now: float, standing: Callable[[], Standing], start: int) -> None:
        """On the chief: merge what all ranks told when it is time to. start: restarts so far."""
        if self._run is None or not self._merged.due(now, self._cost):
            return
        begin = self._clock.cpu()
        stands = standing()
        self._start = start
        self._submit("metrics", lambda: self._merge(stands))
        self._merged.done(now)
        self._charge(self._clock.cpu() - begin)

    def _telling(self, *, spans: bool) -> Callable[[], None]:
        """Return what the writer's thread is to do: this process's ranks as they are now."""
        run = self._run
        assert run is not None
        for recorder in list(self._recorders.values())[:1]:
            while self._stored and recorder.spans is not None:
                recorder.spans.add(CHECKPOINT, *self._stored.pop(0))
        files: list[tuple[Path, bytes]] = []
        for rank, recorder in self._recorders.items():
            files.append((figures_file(run, rank), json.dumps(recorder.sample()).encode()))
            if spans and recorder.spans is not None:
                files.append((spans_file(run, rank), recorder.spans.to_bytes()))

        def tell() -> None:
            begin = time.thread_time()
            run.telemetry.mkdir(exist_ok=True)
            for path, data in files:
                replace_file(path, data)
            self._charge(time.thread_time() - begin)

        return tell

    def _merge(self, standing: Standing) -> None:
        """In the chief's writer thread: read all figures, write metrics.prom and the history."""
        assert self._run is not None
        begin = time.thread_time()
        now = time.time()
        ranks = read_figures(self._run, self._token)
        history = self._begun(now, ranks)
        if history.first is None and standing.incumbent < float("inf"):
            history.first = standing
        self._write(now, standing, ranks, whole=False)
        self._charge(time.thread_time() - begin)

    def _begun(self, now: float, ranks: list[RankFigures]) -> History:
        """Return the history; it begins with the first rank that did."""
        if self._history is None:
            early = [rank.time - rank.wall for rank in ranks]
            self._history = History(min([*early, now]))
        return self._history

    def _write(
        self, now: float, standing: Standing, ranks: list[RankFigures], *, whole: bool
    ) -> None:
        assert self._run is not None
        history, totals = self._begun(now, ranks), Totals.of(ranks)
        at, before = history.slide(now, totals)
        if whole:
            at, before = history.begin, NOTHING
        metrics = measure(totals, before, now - at, standing, history.first)
        labels = {"run": self._run.path.resolve().name}
        text = prometheus_text(metrics, totals, standing, labels, now)
        replace_file(self._run.metrics, text.encode())
        line = {
            "version": HISTORY_VERSION,
            "time": round(now, 3),
            "elapsed": round(now - history.begin, 4),
            "start": self._start,
            "final": whole,
            **history_line(metrics, standing, totals),
            "ranks": sorted(totals.busy)[: config.METRICS_RANKS],
            "utilisation": history.shares(now, totals),
        }
        with self._run.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    # --- at the end ------------------------------------------------------------------------
    def close_rank(self) -> None:
        """Write the last figures of this process's ranks, before the chief merges all."""
        if self._run is None or not self._recorders:
            return
        with self._harmless("metrics of a rank"):
            self._submit("metrics of a rank", self._telling(spans=True))
        self.abandon()

    def abandon(self) -> None:
        """Write what waits, and end the thread that writes."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def close(self, standing: Standing, start: int) -> None:
        """On the chief, when all ranks have closed: the last figures, the trace.

        Nothing that is wrong here is more than a warning: the result is written already.
        """
        if self._run is None or not self._recorders:
            return
        self._start = start
        with self._harmless("metrics.prom"):
            self._finish(standing)
        if self._trace:
            with self._harmless("trace.json"):
                write_trace(self._run, self._token)
        with self._harmless("telemetry"):
            for path in self._run.telemetry.iterdir():
                path.unlink(missing_ok=True)
            self._run.telemetry.rmdir()

    def _finish(self, standing: Standing) -> None:
        assert self._run is not None
        ranks = read_figures(self._run, self._token)
        self._write(time.time(), standing, ranks, whole=True)

    @contextlib.contextmanager
    def _harmless(self, what: str) -> Any:
        try:
            yield
        except Exception as exc:
            self._warn(f"{what} not written: {type(exc).__name__}: {' '.join(str(exc).split())}")

    def _submit(self, name: str, job: Callable[[], None]) -> None:
        if self._writer is None:
            self._writer = Writer(self._warn)

        def guarded() -> None:
            with self._harmless(name):
                job()

        self._writer.submit(name, guarded)

    def _charge(self, seconds: float) -> None:
        self._cost += seconds
        for recorder in list(self._recorders.values())[:1]:
            recorder.cost += seconds


def standing_of(search: Search, lost: int) -> Standing:
    """Return where a search stands. lost: ranks so far."""
    said = search.progress()
    return Standing(
        said.pulse, said.best_objective_sum, said.bound_sum, said.gap, said.work_done,
        said.frontier, said.targets_done, said.targets, said.certified, lost,
    )  # fmt: skip


def observe(hooks: Hooks, recorder: Recorder | None, node: Node) -> Hooks:
    """Have a recorder hear what a loop's hooks hear; return them."""
    if recorder is None:
        return hooks
    hooks.stats, hooks.watcher = recorder.begin(node), recorder.spans
    hooks.on_commit = recorder.committed
    others = hooks.on_tasks

    def decided(mine: Contributed) -> None:
        recorder.decided(mine)
        if others is not None:
            others(mine)

    hooks.on_tasks = decided
    return hooks


def read_figures(run: RunDirectory, token: str) -> list[RankFigures]:
    """Return the figures of all ranks of a start of a run, by rank; others are passed over."""
    found: list[RankFigures] = []
    for path in sorted(run.telemetry.glob("rank-*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            figures = RankFigures.of(json.loads(path.read_bytes()), token)
            if figures is not None:
                found.append(figures)
    return found
