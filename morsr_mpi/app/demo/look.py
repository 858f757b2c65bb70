"""`morsr inspect` of what a demo left: its table once more, then each layer's run directory."""

from __future__ import annotations

import json
from pathlib import Path

from morsr_mpi.app.inspect import Findings
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.base.errors import InputError

#: What marks the directory of a demo.
REPORT = "demo.json"


def is_demo(path: Path) -> bool:
    """Whether a directory was left by `morsr demo`."""
    return (path / REPORT).is_file()


def runs_of(path: Path) -> list[Path]:
    """Return the run directories of a demo's directory, sorted by name."""
    return sorted(p for p in path.iterdir() if (p / "result.h5").is_file())


def inspect_demo(path: Path, *, check: bool) -> Findings:
    """Explain a demo's directory. check: verify every run in it, too.

    Raises InputError when its report cannot be read.
    """
    found = Findings()
    try:
        report = json.loads((path / REPORT).read_text())
        found.add("demo", f"{path}: {report['ranks']} ranks, {report['seconds']:.0f} s")
        for method in report["methods"]:
            losses = ", ".join(
                f"{layer['name']} {100 * layer['proxy_loss']:.3f} %" for layer in method["layers"]
            )
            found.add(
                method["name"],
                f"errors: {losses}; {method['bits_per_weight']:.2f} bits per weight; "
                f"test accuracy {100 * method['accuracy']:.1f} %",
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path / REPORT} cannot be read ({error}); inspect a run directory beside it"
        ) from None
    for run in runs_of(path):
        found.add("", "")
        inside = inspect_run(run, check=check)
        found.lines.extend(inside.lines)
        found.wrong.extend(f"{run.name}: {line}" for line in inside.wrong)
    return found
