"""The demo from start to end: train, make the problems, solve them, compare.

Training and comparing happen in this process. Solving is done by jobs of several ranks, which
get nothing but the problem files; how a job is run is handed in (`demo.jobs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.app.demo import methods
from morsr_mpi.app.demo.data import load_digits
from morsr_mpi.app.demo.layers import Layer, make_layers
from morsr_mpi.app.demo.network import train
from morsr_mpi.app.demo.report import DemoReport, SameBits, write_files
from morsr_mpi.base.errors import UsageError
from morsr_mpi.objectives.solution import SolveResult

#: Work units per row of weights: the large first layer then takes half a minute on one core.
WORK = 1_000_000
QUICK_WORK = 50_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One problem to solve: file, new run directory, budget per target, number of ranks."""

    problem_file: Path
    run_dir: Path
    work: int
    ranks: int


SolveJob = Callable[[Job], SolveResult]


def make_directory(path: Path) -> None:
    """Make the directory of a demo; raises UsageError when something is there already."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{path} exists; choose another --run-dir") from None
    except OSError as exc:
        raise UsageError(
            f"{path} cannot be made ({exc.strerror or exc}); choose a --run-dir that you may "
            "write to"
        ) from None


def run_demo(root: Path, ranks: int, work: int, solve: SolveJob, say: Say) -> DemoReport:
    """Run the whole demo in a new directory and return its report.

    ranks: of each job. work: units per row. say: shows one line.
    Raises UsageError when the directory exists, and what `solve` raises.
    """
    begun = time.monotonic()
    make_directory(root)
    digits = load_digits()
    say("training a small network on 1297 handwritten digits")
    network = train(digits)
    layers = make_layers(network, digits.train_images)
    say(
        f"it reads {100.0 * network.accuracy(digits.test_images, digits.test_labels):.1f} % of 500 "
        "other digits correctly; now its weights are rounded to points of an E8 lattice, "
        "about 2 bits each"
    )
    outcomes = [
        methods.assemble(
            methods.FLOAT, [methods.keep_float(layer) for layer in layers], network, digits
        )
    ]
    for name in methods.BASELINES:
        rounded = [_baseline(name, layer) for layer in layers]
        outcomes.append(methods.assemble(name, rounded, network, digits))
    files = _write_problems(root, layers)
    found: list[methods.LayerOutcome] = []
    results: list[SolveResult] = []
    for layer, file in zip(layers, files, strict=True):
        problem = layer.problem
        say(
            f"{layer.name}: {problem.k} rows of {problem.n} weights, one closest-point search "
            f"each, on {ranks} rank{'s' if ranks != 1 else ''}"
        )
        result = solve(Job(file, root / layer.name, work, ranks))
        proven = int(result.certified.sum())
        results.append(result)
        found.append(methods.outcome_of(layer, result.doubled, result.wall_seconds, proven))
    outcomes.append(methods.assemble(methods.MORSR, found, network, digits))
    # The last layer but one is small enough to be solved twice and large enough to mean something.
    again = len(layers) - 2
    say(f"{layers[again].name} once more, on one rank: do the same bits come out?")
    repeated = solve(Job(files[again], root / f"{layers[again].name}-one-rank", work, 1))
    same = SameBits(
        layers[again].name,
        (results[again].ranks, repeated.ranks),
        (results[again].solution.digest().hex(), repeated.solution.digest().hex()),
    )
    rows = tuple(layer.problem.k for layer in layers)
    seconds = time.monotonic() - begun
    report = DemoReport(root, ranks, work, rows, tuple(outcomes), same, seconds)
    write_files(report, network)
    return report


def _baseline(name: str, layer: Layer) -> methods.LayerOutcome:
    """Round a layer by one of the methods that run here, and time it."""
    begun = time.monotonic()
    rounded = methods.BASELINES[name](layer.problem)
    return methods.outcome_of(layer, rounded.doubled, time.monotonic() - begun)


def _write_problems(root: Path, layers: list[Layer]) -> list[Path]:
    """Write one problem file per layer and return their paths."""
    folder = root / "problems"
    folder.mkdir()
    files = [folder / f"{layer.name}.h5" for layer in layers]
    for layer, file in zip(layers, files, strict=True):
        save_problem(file, layer.problem)
    return files
