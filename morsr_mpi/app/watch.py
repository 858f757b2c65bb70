"""`morsr watch`: how a run stands, from its files, for people on another host.

Reads the end of `metrics.jsonl`, `load.json` and the end of the log; never writes, never locks.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from morsr_mpi.app.load import RUNNING, STALE_SECONDS, JobLoad, read_load
from morsr_mpi.app.progress import units_text
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.telemetry import HISTORY_VERSION
from morsr_mpi.base.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

#: The end of a file that is read at each look.
TAIL_BYTES = 64 << 10
#: Lines of the log and ranks that the picture has.
LOG_LINES = 6
SHOWN_RANKS = 24


@dataclass(frozen=True)
class Look:
    """What the files say. line: the newest of the history; load: None before the ranks met."""

    line: dict[str, Any] | None
    load: JobLoad | None
    log: tuple[str, ...]
    now: float

    @property
    def ended(self) -> bool:
        """Whether the run says that it is over."""
        return self.load is not None and self.load.state != RUNNING

    @property
    def state(self) -> str:
        """In a word or two: what it says of itself, or that it has been silent for long."""
        if self.load is None:
            return "starting"
        if not self.ended and self.now - self.load.time > STALE_SECONDS:
            return f"silent for {self.now - self.load.time:.0f} s: slow, or cut off"
        return self.load.state

    def text(self) -> str:
        """One line."""
        parts = [self.state]
        line = self.line
        if line is not None:
            parts += [
                f"pulse {line['pulse']}",
                f"incumbent {_number(line['incumbent'])}",
                f"bound {_number(line['bound'])}",
                f"gap {_percent(line['gap'])}",
                f"work {units_text(float(line['work']))}",
                f"targets {line['targets_done']}/{line['targets']}",
                f"efficiency {_percent(line['metrics']['parallel_efficiency'])}",
            ]
        if self.load is not None:
            parts.append(f"{self.load.ranks} rank{'s' if self.load.ranks != 1 else ''}")
        if line is not None and line["lost"]:
            parts.append(f"{line['lost']} lost")
        return ", ".join(parts)


def look(run: RunDirectory, now: float) -> Look:
    """Look once. now: seconds since 1970. Raises InputError for a load file of another version."""
    line = None
    for data in reversed(_tail(run.history)):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = json.loads(data)
            if found["version"] == HISTORY_VERSION:
                Look(found, None, (), now).text()  # has what is shown
                line = found
                break
    log = tuple(data.decode(errors="replace") for data in _tail(run.log_file)[-LOG_LINES:])
    return Look(line, read_load(run), log, now)


def watch(
    path: Path,
    every: float,
    *,
    once: bool = False,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Follow a run until it ends. every: seconds. Raises InputError where there is no run."""
    run = RunDirectory(path)
    if not run.checkpoints.is_dir():
        raise InputError(f"{path} is no run directory of morsr; name that of the run to watch")
    stream = sys.stdout if stream is None else stream
    looks = _looks(run, every, once, clock, sleep)
    if stream.isatty():
        _live(looks, stream, path)
        return
    said = ""
    for seen in looks:
        if seen.text() != said:
            said = seen.text()
            print(said, file=stream, flush=True)


def _looks(
    run: RunDirectory,
    every: float,
    once: bool,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[Look]:
    while True:
        seen = look(run, clock())
        yield seen
        if once or seen.ended:
            return
        sleep(every)


def _live(looks: Iterator[Look], stream: TextIO, path: Path) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live(console=console, auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
        for seen in looks:
            live.update(picture(seen, path), refresh=True)


def picture(seen: Look, path: Path) -> Table:
    """Return what a terminal shows."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=False, title=Text(f"{path}: {seen.state}"))
    table.add_column(style="bold")
    table.add_column()
    line = seen.line
    if line is not None:
        found = line["metrics"]
        for name, text in (
            ("incumbent", _number(line["incumbent"])),
            ("proven bound", _number(line["bound"])),
            ("gap", f"{_bar(line['gap'])} {_percent(line['gap'])}"),
            ("pulse, work", f"{line['pulse']}, {units_text(float(line['work']))} units"),
            ("targets done", f"{line['targets_done']} of {line['targets']}"),
            ("open chambers", str(line["frontier"])),
            ("efficiency", _percent(found["parallel_efficiency"])),
            ("tasks", f"{_number(found['throughput_ops_per_second'])} per second"),
            ("lost ranks", str(line["lost"])),
        ):
            table.add_row(name, Text(text))
        shown = list(zip(line["ranks"], line["utilisation"], strict=False))[:SHOWN_RANKS]
        for rank, share in shown:
            table.add_row(f"rank {rank}", Text(f"{_bar(share)} {100.0 * share:.0f} %"))
        if len(line["ranks"]) > len(shown):
            table.add_row("", Text(f"and {len(line['ranks']) - len(shown)} more ranks"))
    for text in seen.log:
        table.add_row("", Text(text, overflow="ellipsis", no_wrap=True, style="dim"))
    return table


def _bar(share: float | None, width: int = 20) -> str:
    filled = 0 if share is None else round(width * min(1.0, max(0.0, share)))
    return "█" * filled + "░" * (width - filled)


def _percent(share: float | None) -> str:
    return "open" if share is None or not math.isfinite(share) else f"{100.0 * share:.3g} %"


def _number(value: float | None) -> str:
    return "none yet" if value is None else f"{value:.8g}"


def _tail(path: Path) -> list[bytes]:
    """Whole lines at the end of a file, [] where there is none."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read()
    except OSError:
        return []
    lines = data.split(b"\n")
    return lines[1 if size > TAIL_BYTES else 0 : -1]
