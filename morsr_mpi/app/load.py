"""`DIR/load.json`: how busy a job is, written by its chief; and decisions about its size.

What `morsr autoscale` looks at, from wherever the run directory is seen. A decision lies in
`DIR/scaling/` until the chief has put it into the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from morsr_mpi.app.environment import slurm_job
from morsr_mpi.app.files import replace_file
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import InputError
from morsr_mpi.node.core import Node
from morsr_mpi.provenance.scaling import Scaling

LOAD_VERSION = 1
#: The file is written this often, over a window this long.
LOAD_SECONDS = 2.0
WINDOW_SECONDS = 10.0
#: What is older than this says nothing of a run.
STALE_SECONDS = 60.0

RUNNING, STOPPED, FINISHED = "running", "stopped", "finished"


@dataclass(frozen=True)
class JobLoad:
    """time: seconds since 1970. slurm_job: its number, "" outside Slurm. nodes: of the batch job,
    or 1; ranks: that work now. cpu: share of the time in which ranks had something to compute;
    memory: share that is used on the chief's host, or of its control group. state: `running`,
    `stopped`, `finished`."""

    time: float
    state: str
    slurm_job: str
    nodes: int
    ranks: int
    cpu: float
    memory: float
    pulses: int
    version: int = LOAD_VERSION


class LoadMeter:
    """The chief's side: measures, and says when the file is due."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._node: Node | None = None
        self._due = float("-inf")

    def look(self, now: float, node: Node) -> JobLoad | None:
        """Return what to write, None when it is not time. now: monotonic seconds."""
        if node is not self._node:  # after a regrouping everybody counts from zero
            self._node, self._due = node, now
            self._samples.clear()
        if now < self._due or not node.has_met:
            return None
        self._due = now + LOAD_SECONDS
        self._samples.append((now, sum(busy for _, busy in node.progress_by_rank)))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.popleft()
        return self.load(RUNNING, node)

    def load(self, state: str, node: Node) -> JobLoad:
        """Return how the job stands."""
        (begin, before), (end, after) = self._samples[0], self._samples[-1]
        ranks = node.settings.size
        available = 1000.0 * ranks * (end - begin)
        job, nodes = slurm_job()
        return JobLoad(
            time=round(time.time(), 3),
            state=state,
            slurm_job=job,
            nodes=nodes,
            ranks=ranks,
            cpu=round(min(1.0, (after - before) / available), 4) if available > 0.0 else 0.0,
            memory=round(memory_used(), 4),
            pulses=node.certified,
        )

    def ended(self, state: str, node: Node) -> JobLoad | None:
        """Return what to write at the end, None where the ranks never met.

        A job may be over before anything was measured: then it kept nobody busy.
        """
        if not self._samples and node.has_met:
            self._samples.append((0.0, 0))
        return self.load(state, node) if self._samples else None


def memory_used() -> float:
    """Return the share of memory in use on this host, or in our control group if that is fuller."""
    found = 0.0
    with contextlib.suppress(OSError, ValueError, KeyError, ZeroDivisionError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
        found = 1.0 - fields["MemAvailable"] / fields["MemTotal"]
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").split("::", 1)[1].strip()
        folder = Path("/sys/fs/cgroup") / group.lstrip("/")
        most = int((folder / "memory.max").read_text())
        found = max(found, int((folder / "memory.current").read_text()) / most)
    return min(1.0, max(0.0, found))


def write_load(run: RunDirectory, load: JobLoad) -> None:
    """Replace the file. Raises OSError."""
    _replace(run.load_file, asdict(load))


def read_load(run: RunDirectory) -> JobLoad | None:
    """Return what a run says of its load, None where it says nothing. Raises InputError."""
    try:
        found = json.loads(run.load_file.read_bytes())
        if found.get("version") != LOAD_VERSION:
            raise InputError(
                f"{run.load_file} has version {found.get('version')}, this morsr knows "
                f"{LOAD_VERSION}: use that of the run"
            )
        return JobLoad(**{name: kind(found[name]) for name, kind in _FIELDS.items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InputError(f"{run.load_file} cannot be read ({exc}); is this a run?") from None


_FIELDS: dict[str, Any] = {
    "time": float, "state": str, "slurm_job": str, "nodes": int, "ranks": int, "cpu": float,
    "memory": float, "pulses": int,
}  # fmt: skip


def add_decision(run: RunDirectory, decision: Scaling) -> Scaling:
    """Leave a decision for the journal, under the next free number; return it so numbered.

    Raises OSError.
    """
    run.scaling.mkdir(exist_ok=True)
    while True:
        names = (path.stem for path in run.scaling.glob("[0-9]*.json"))
        number = 1 + max((int(name) for name in names if name.isdecimal()), default=0)
        numbered = Scaling(**{**asdict(decision), "number": number})
        path = run.scaling / f"{number:06d}.json"
        draft = run.scaling / f".{number:06d}.{os.getpid()}"
        draft.write_text(json.dumps(asdict(numbered), indent=1) + "\n", encoding="utf-8")
        try:
            os.link(draft, path)
        except FileExistsError:
            continue
        finally:
            draft.unlink(missing_ok=True)
        return numbered


def decisions(run: RunDirectory) -> list[Scaling]:
    """Return the decisions about a run, by number; files that are none are passed over."""
    found: list[Scaling] = []
    for path in sorted(run.scaling.glob("[0-9]*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            fields = json.loads(path.read_bytes())
            body = Scaling.from_body(Scaling(**fields).body())
            if body is not None:
                found.append(body)
    return found


def _replace(path: Path, fields: dict[str, Any]) -> None:
    replace_file(path, (json.dumps(fields) + "\n").encode())
