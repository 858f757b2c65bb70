"""The calibration file: every cost of the scale model, measured, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from morsr_mpi.base.errors import InputError, UsageError

FILE = Path(__file__).parent / "calibration.json"
VERSION = 1


@dataclass(frozen=True)
class Network:
    """Seconds of a small message one way; bytes per second of a large one."""

    name: str
    latency: float
    bytes_per_second: float

    def one_way(self, size: int) -> float:
        """Seconds of a message of so many bytes."""
        return self.latency + size / self.bytes_per_second


@dataclass(frozen=True)
class Recorded:
    """A recorded run. pulses: of (CPU seconds, bytes of the result, predicted units) for each
    task; plan, commit: CPU seconds per task; digest: of S, once a pulse; prepare: of the
    factorisation."""

    n: int
    pulses: tuple[tuple[tuple[float, int, float], ...], ...]
    plan: float
    commit: float
    digest: float
    prepare: float


@dataclass(frozen=True)
class Calibration:
    """CPU seconds of one: sign, verify; turn, slot, frame, vote (see `probe.Probe`);
    assign_task, assign_pair: of assignment, by task and by task and rank. death_report: seconds
    until the runtime reports a death, by network."""

    sign: float
    verify: float
    turn: float
    slot: float
    frame: float
    vote: float
    assign_task: float
    assign_pair: float
    death_report: dict[str, float]
    networks: dict[str, Network]
    workloads: dict[str, dict[int, Recorded]]
    machine: dict[str, str]

    def network(self, name: str) -> Network:
        """Return a preset. Raises UsageError for one there is not."""
        if name not in self.networks:
            raise UsageError(f"no network {name!r}: there are {', '.join(sorted(self.networks))}")
        return self.networks[name]

    def recorded(self, workload: str, dims: int) -> Recorded:
        """Return the recorded run of a dimension. Raises UsageError for one there is not."""
        runs = self.workloads.get(workload, {})
        if dims not in runs:
            there = ", ".join(map(str, sorted(runs))) or "none"
            raise UsageError(
                f"workload {workload} was recorded for --dims {there}, not {dims}: record it "
                "with benchmarks/calibrate.py"
            )
        return runs[dims]

    def with_crypto(self, factor: float) -> Calibration:
        """The same with signatures that cost so many times as much."""
        return replace(self, sign=factor * self.sign, verify=factor * self.verify)


def load_calibration(path: Path = FILE) -> Calibration:
    """Read the file. Raises InputError for one that cannot be used."""
    try:
        data = json.loads(path.read_text())
        if data["version"] != VERSION:
            raise InputError(f"{path} has version {data['version']}, this software {VERSION}")
        return _parse(data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no calibration ({error}): write it with benchmarks/calibrate.py"
        ) from None


def _parse(data: dict[str, Any]) -> Calibration:
    node, assign = data["node"], data["node"]["assign"]
    workloads: dict[str, dict[int, Recorded]] = {}
    for name, runs in data["workloads"].items():
        workloads[name] = {
            int(n): Recorded(
                int(n),
                tuple(tuple((float(t), int(s), float(w)) for t, s, w in p) for p in run["pulses"]),
                run["plan_per_task"],
                run["commit_per_task"],
                run["digest_per_pulse"],
                run["prepare_seconds"],
            )
            for n, run in runs.items()
        }
    return Calibration(
        sign=data["crypto"]["sign"],
        verify=data["crypto"]["verify"],
        turn=node["turn"],
        slot=node["slot"],
        frame=node["frame"],
        vote=node["vote"],
        assign_task=assign["per_task"],
        assign_pair=assign["per_task_and_rank"],
        death_report={k: v for k, v in data["death_report"].items() if k != "source"},
        networks={
            name: Network(name, net["latency"], net["bytes_per_second"])
            for name, net in data["networks"].items()
        },
        workloads=workloads,
        machine=data["machine"],
    )
