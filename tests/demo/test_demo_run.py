"""The demo around its jobs: files, report, words. Jobs are answered by a stand-in here."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from morsr_mpi.adapters.hdf5_problem import load_problem
from morsr_mpi.app.demo import methods, table
from morsr_mpi.app.demo.report import DemoReport
from morsr_mpi.app.demo.run import Job, run_demo
from morsr_mpi.app.entropy import decode_points
from morsr_mpi.base.errors import UsageError
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.search.ldlq import block_ldlq, natural_order


class Jobs:
    """Answers jobs by block LDLQ and remembers them; on one rank it can be made to differ."""

    def __init__(self, differs: bool = False) -> None:
        self.seen: list[Job] = []
        self.differs = differs

    def __call__(self, job: Job) -> SolveResult:
        self.seen.append(job)
        job.run_dir.mkdir()
        problem = load_problem(job.problem_file)
        found = block_ldlq(problem, natural_order(problem))
        bound = np.zeros(problem.k)
        work = np.full(problem.k, job.work + (self.differs and job.ranks == 1), dtype=np.int64)
        certified = np.zeros(problem.k, dtype=np.uint8)
        certified[0] = 1
        return SolveResult(
            found.doubled, found.objective, bound, certified, work, 1e-9, job.ranks, 1.5
        )


def shown(report: DemoReport) -> str:
    stream = io.StringIO()
    table.show(report, Console(file=stream, width=120))
    return stream.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoReport, Jobs, list[str]]:
    jobs, lines = Jobs(), []
    root = tmp_path_factory.mktemp("demo") / "run"
    return run_demo(root, 3, 1234, jobs, lines.append), jobs, lines


def test_every_layer_is_a_job_on_all_ranks_and_one_is_repeated(
    finished: tuple[DemoReport, Jobs, list[str]],
) -> None:
    report, jobs, _ = finished
    root = report.run_dir
    assert [(job.run_dir.relative_to(root).as_posix(), job.ranks) for job in jobs.seen] == [
        ("layer1", 3),
        ("layer2", 3),
        ("layer3", 3),
        ("layer2-one-rank", 1),
    ]
    assert all(job.work == 1234 for job in jobs.seen)
    assert report.same_bits.ranks == (3, 1)
    assert report.same_bits.same


def test_methods_share_scale_and_order(finished: tuple[DemoReport, Jobs, list[str]]) -> None:
    report, _, _ = finished
    names = [method.name for method in report.methods]
    assert names == [methods.FLOAT, methods.NEAREST, methods.LDLQ, methods.MORSR]
    exact, nearest, ldlq, _ = report.methods
    assert exact.bits_per_weight == 32.0
    assert max(layer.proxy_loss for layer in exact.layers) < 1e-12
    for worse, better in zip(nearest.layers, ldlq.layers, strict=True):
        assert better.damped_loss < worse.damped_loss
        assert better.proxy_loss < worse.proxy_loss
    for method in report.methods[1:]:
        assert 1.5 < method.bits_per_weight < 2.5
        assert method.accuracy > 0.85


def test_streams_in_the_file_decode_to_the_weights_in_it(
    finished: tuple[DemoReport, Jobs, list[str]],
) -> None:
    report, _, _ = finished
    with np.load(report.run_dir / "quantised.npz", allow_pickle=False) as stored:
        streams = [name for name in stored.files if name.endswith(".stream")]
        assert len(streams) == 9
        for name in streams:
            doubled, scale = decode_points(stored[name].tobytes())
            weights = stored[name.removesuffix(".stream")]
            np.testing.assert_array_equal(doubled * (scale / 2.0), weights)
        for layer in report.method(methods.MORSR).layers:
            np.testing.assert_array_equal(stored[f"{layer.name}.morsr"], layer.weights)
            size = stored[f"{layer.name}.morsr.stream"].size
            assert layer.bits_per_weight == 8.0 * size / layer.weights.size


def test_json_is_complete_and_on_disk(finished: tuple[DemoReport, Jobs, list[str]]) -> None:
    report, _, _ = finished
    stored = json.loads((report.run_dir / "demo.json").read_text())
    assert stored == json.loads(json.dumps(report.to_json()))
    ours = stored["methods"][3]
    assert ours["name"] == "morsr"
    assert ours["seconds"] == pytest.approx(4.5)
    assert [layer["targets"] for layer in ours["layers"]] == [32, 16, 10]
    assert len(stored["gain_over_ldlq"]) == 3


def test_words_say_gain_proofs_bits_and_where_to_look(
    finished: tuple[DemoReport, Jobs, list[str]],
) -> None:
    report, _, lines = finished
    text = " ".join(shown(report).split())
    for part in (
        "LDLQ + 10 CD",
        "layer1 1 of 32, layer2 1 of 16, layer3 1 of 10",
        "layer2 on 3 ranks and on 1 rank: the same bits",
        "morsr inspect",
    ):
        assert part in text
    assert "97" in lines[1] or "96" in lines[1] or "98" in lines[1]


def test_table_fits_a_plain_terminal(finished: tuple[DemoReport, Jobs, list[str]]) -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(table.make_table(finished[0]))
    assert "…" not in stream.getvalue()
    assert max(len(line.rstrip()) for line in stream.getvalue().splitlines()) <= 80


def test_different_bits_are_said_aloud(tmp_path: Path) -> None:
    report = run_demo(tmp_path / "run", 2, 10, Jobs(differs=True), lambda line: None)
    assert not report.same_bits.same
    assert "DIFFERENT bits" in shown(report)
    assert report.to_json()["same_bits"]["same"] is False


def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    jobs = Jobs()
    with pytest.raises(UsageError, match="exists; choose another --run-dir"):
        run_demo(tmp_path, 2, 10, jobs, lambda line: None)
    assert jobs.seen == []
    assert list(tmp_path.iterdir()) == []
