"""Parts of `morsr quantize`: sums, transforms, Hessians, scales, losses."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import LAYERS, hessians, save_torch, write_model

from morsr_mpi.adapters.tensor_file import open_tensors
from morsr_mpi.app.quantize import budget
from morsr_mpi.app.quantize.gram import mean_gram
from morsr_mpi.app.quantize.hessians import open_hessians
from morsr_mpi.app.quantize.incoherence import hadamard, rotate, rotate_form, signs_of, unrotate
from morsr_mpi.app.quantize.layers import Layer, choose_layers
from morsr_mpi.app.quantize.options import Quantization
from morsr_mpi.app.quantize.outputs import weights_of
from morsr_mpi.app.quantize.stages import make_problem
from morsr_mpi.base.errors import InputError, UsageError
from morsr_mpi.search.ldlq import nearest_point
from morsr_mpi.search.prepare import prepare, rescaled


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 6))
def test_gram_is_exact_to_its_bound_and_independent_of_blocks(
    seed: int, samples: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, n)) * 10.0 ** rng.integers(-6, 6, n)
    found = mean_gram([x], n)
    largest = np.abs(x).max(axis=0)
    for i in range(n):
        for j in range(n):
            products = zip(x[:, i].tolist(), x[:, j].tolist(), strict=True)
            exact = sum(Fraction(a) * Fraction(b) for a, b in products) / samples
            assert abs(Fraction(found[i, j]) - exact) <= 2.0**-40 * largest[i] * largest[j]
    assert np.array_equal(found, found.T)


def test_gram_is_the_same_whatever_order_products_are_summed_in() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1000, 48)).astype(np.float32).astype(np.float64)
    shuffled = x[rng.permutation(1000)]
    assert np.array_equal(mean_gram([x], 48), mean_gram([shuffled], 48))
    few = np.concatenate([mean_gram([x], 48)[:, :8]])
    assert np.array_equal(few[:8], mean_gram([x[:, :8].copy()], 8))


def test_without_a_sample_there_is_no_hessian() -> None:
    with pytest.raises(InputError, match="no sample"):
        mean_gram([], 8)


@given(st.integers(1, 5), st.integers(0, 2**40))
def test_rotation_keeps_lengths_and_is_undone(tiles: int, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((3, 8 * tiles))
    turned = rotate(rows, seed)
    assert np.allclose((turned**2).sum(axis=1), (rows**2).sum(axis=1))
    assert np.allclose(unrotate(turned, seed), rows)


def test_hadamard_is_sylvesters_matrix() -> None:
    one = np.array([[1.0, 1.0], [1.0, -1.0]])
    eight = np.kron(one, np.kron(one, one)) / np.sqrt(8.0)
    assert np.allclose(hadamard(np.eye(8)), eight)
    assert np.allclose(hadamard(np.eye(24)), np.kron(np.eye(3), eight))


def test_the_rotated_form_gives_the_same_loss() -> None:
    rng = np.random.default_rng(3)
    form, rows = rng.standard_normal((24, 24)), rng.standard_normal((2, 24))
    form = form @ form.T
    turned = rotate_form(form, 9)
    there = rotate(rows, 9)
    assert np.allclose(
        np.einsum("ki,ij,kj->k", rows, form, rows), ((there @ turned) * there).sum(1)
    )
    assert np.array_equal(turned, turned.T)


def test_signs_are_fixed_for_all_time() -> None:
    assert "".join("+-"[int(sign < 0)] for sign in signs_of(1, 16)) == "--++---++++++--+"
    assert signs_of(7, 1000).tolist() == signs_of(7, 1003)[:1000].tolist()


def _quip(path: Path, form: np.ndarray[Any, Any], mu: np.ndarray[Any, Any]) -> None:
    flat = (form - mu[:, None] * mu[None, :])[np.tril_indices(len(mu))]
    tensors = {"flatH": flat.astype(np.float32), "mu": mu.astype(np.float32)}
    save_torch(path, tensors, {"n": len(mu), "ct": 300})


def test_hessians_come_from_arrays_from_quips_files_and_from_samples(tmp_path: Path) -> None:
    _, calibration = write_model(tmp_path)
    forms = hessians()
    np.savez(tmp_path / "h.npz", **forms)
    folder = tmp_path / "quip"
    folder.mkdir()
    for name, form in forms.items():
        _quip(folder / f"{name}.pt", form, np.full(len(form), 0.25))
    sources = (
        open_hessians(tmp_path / "h.npz", None, None),
        open_hessians(folder, None, None),
        open_hessians(None, calibration, None),
    )
    assert [source.damping for source in sources] == [0.0, 0.0, 0.01]
    for name, (_, n) in LAYERS.items():
        for source in sources:
            assert source.side(name) == n
            assert np.allclose(source.matrix(name), forms[name], rtol=1e-5, atol=1e-6)
            assert source.side("nothing") is None
    one = open_hessians(folder / "a.weight.pt", None, None)
    assert one.side("whatever") == 48


def test_names_of_hessians_may_differ(tmp_path: Path) -> None:
    np.savez(tmp_path / "h.npz", shared=np.eye(48))
    (tmp_path / "names.json").write_text(json.dumps({"a.weight": "shared"}))
    source = open_hessians(tmp_path / "h.npz", None, tmp_path / "names.json")
    assert source.side("a.weight") == 48
    (tmp_path / "names.json").write_text("[1]")
    with pytest.raises(InputError, match="must be an object"):
        open_hessians(tmp_path / "h.npz", None, tmp_path / "names.json")


def test_a_hessian_that_is_not_symmetric_is_refused(tmp_path: Path) -> None:
    form = np.eye(48)
    form[3, 5] = 0.5
    np.savez(tmp_path / "h.npz", x=form)
    with pytest.raises(InputError, match="not symmetric"):
        open_hessians(tmp_path / "h.npz", None, None).matrix("x")


def test_layers_are_chosen_by_glob_largest_first(tmp_path: Path) -> None:
    model, calibration = write_model(tmp_path)
    file, source = open_tensors(model), open_hessians(None, calibration, None)
    assert [x.name for x in choose_layers(file, source, ())] == ["a.weight", "c.weight", "b.weight"]
    assert [x.name for x in choose_layers(file, source, ("[bc].*",))] == ["c.weight", "b.weight"]
    with pytest.raises(InputError, match="has nothing for embedding"):
        choose_layers(file, source, ("embedding",))
    with pytest.raises(InputError, match=r"a\.bias is no matrix"):
        choose_layers(file, source, ("a.bias",))
    with pytest.raises(UsageError, match="no layer"):
        choose_layers(file, source, ("x*",))
    np.savez(tmp_path / "wrong.npz", **{"a.weight": np.eye(40)})
    with pytest.raises(InputError, match="is for 40 inputs"):
        choose_layers(file, open_hessians(tmp_path / "wrong.npz", None, None), ())


@pytest.mark.parametrize("seed", [None, 4])
def test_the_loss_is_that_of_the_weights_under_the_hessian_as_given(
    seed: int | None, tmp_path: Path
) -> None:
    model, calibration = write_model(tmp_path)
    options = Quantization(model, calibration=calibration, scale=0.06, incoherence=seed)
    source = open_hessians(None, calibration, None)
    for name, (rows, columns) in LAYERS.items():
        weights = open_tensors(model)
        exact = np.concatenate(list(weights.blocks(name, 99))).astype(np.float64)
        problem, form = make_problem(Layer(name, rows, columns), exact, source, options)
        doubled = nearest_point(problem).doubled
        error = weights_of(doubled, problem.scale, columns, seed) - exact
        under = hessians()[name]
        loss = np.sum((error @ under) * error) / np.sum((exact @ under) * exact)
        assert form.loss(problem, doubled) == pytest.approx(loss, rel=1e-5)


def test_a_problem_of_another_scale_is_the_one_prepared_for_it(tmp_path: Path) -> None:
    model, calibration = write_model(tmp_path)
    source = open_hessians(None, calibration, None)
    exact = np.concatenate(list(open_tensors(model).blocks("c.weight", 99))).astype(np.float64)
    found = []
    for scale in (0.05, 0.08):
        options = Quantization(model, calibration=calibration, scale=scale)
        problem, _ = make_problem(Layer("c.weight", 10, 32), exact, source, options)
        found.append(prepare(problem))
    moved = rescaled(found[0], found[1].problem.scale)
    assert moved.problem.digest == found[1].problem.digest
    assert np.array_equal(budget.solve_here(moved, 500), budget.solve_here(found[1], 500))


@pytest.mark.parametrize("bits", [1.5, 3.0])
def test_the_scale_meets_the_budget(bits: float) -> None:
    rng = np.random.default_rng(8)
    form = rng.standard_normal((64, 64))
    options = Quantization(Path("m"), hessians=Path("h"))

    class Source:
        path, damping = Path("h"), 0.1

        def side(self, name: str) -> int:
            return 64

        def matrix(self, name: str) -> Any:
            return form @ form.T

    layer = Layer("w", 64, 64)
    weights = rng.standard_normal((64, 64))
    problem, _ = make_problem(layer, weights, Source(), options)
    scale = budget.scale_within(problem, 64, bits, 5000, lambda text: None)
    at = rescaled(prepare(problem), scale)
    rate = budget.rate_of(budget.solve_here(at, 2000), scale, 64)
    assert bits - 0.06 < rate < bits + 0.03
    empty, _ = make_problem(layer, 0.0 * weights, Source(), options)
    with pytest.raises(InputError, match="all its weights are zero"):
        budget.scale_within(empty, 64, bits, 5000, lambda text: None)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"hessians": Path("h"), "calibration": Path("x")},
        {"hessians": Path("h"), "bits": 2.0, "scale": 1.0},
        {"hessians": Path("h"), "bits": float("nan")},
        {"hessians": Path("h"), "damping": -1.0},
        {"hessians": Path("h"), "incoherence": -1},
        {"hessians": Path("h"), "codebook": "ball"},
        {"hessians": Path("h"), "codebook": "x"},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Quantization(Path("m"), **wrong)


def test_work_grows_with_the_square_of_a_row() -> None:
    options = Quantization(Path("m"), hessians=Path("h"))
    assert options.units(384) == 100_000
    assert options.units(768) == 400_000
    assert Quantization(Path("m"), hessians=Path("h"), work=None).units(384) is None
