"""What one rank does for a layer before its run and after it: files in, files out.

Before: weights and Hessian become a problem file. It is written once, by one rank, and everything
that decides the result is in it: neither another number of ranks nor a restart can change it.
After: the points become a coded stream, which is read back, and a record of what was reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.adapters.hdf5_problem import load_problem, save_problem
from morsr_mpi.adapters.hdf5_result import load_result
from morsr_mpi.adapters.tensor_file import TensorFile, read_floats
from morsr_mpi.app.entropy import decode_points, encode_points
from morsr_mpi.app.files import write_synced
from morsr_mpi.app.quantize import budget
from morsr_mpi.app.quantize.hessians import HessianSource
from morsr_mpi.app.quantize.incoherence import rotate, rotate_form, unrotate
from morsr_mpi.app.quantize.layers import Layer
from morsr_mpi.app.quantize.options import Quantization
from morsr_mpi.app.quantize.place import LayerPlace, read_json, write_json
from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.ldlq import Rounded, ldlq_with_descent, nearest_point

Matrix = NDArray[np.float64]
#: Rows of a layer that LDLQ rounds at a time: its memory.
BASELINE_ROWS = 1024


@dataclass(frozen=True)
class Form:
    """How a layer's problem comes from its Hessian: Q = R^T (H + damping I, padding) R.

    damping: added to the diagonal. padding: diagonal of the coordinates beyond the layer's.
    energy: tr(W H W^T). seed: of R, None without.
    """

    columns: int
    damping: float
    padding: float
    energy: float
    seed: int | None

    def loss(self, problem: QuadraticProblem, doubled: NDArray[np.int32]) -> float:
        """Return tr(D H D^T) / tr(W H W^T) under H as given; D: error of these points."""
        total = 0.0
        for first in range(0, problem.k, BASELINE_ROWS):
            rows = slice(first, first + BASELINE_ROWS)
            error = doubled[rows] * (problem.scale / 2.0) - problem.targets[rows]
            total += float(np.einsum("ki,ki->", error @ problem.Q, error))
            if self.seed is not None:
                error = unrotate(error, self.seed)
            total -= self.damping * float(np.sum(error[:, : self.columns] ** 2))
            total -= (self.damping + self.padding) * float(np.sum(error[:, self.columns :] ** 2))
        return total / self.energy if self.energy > 0.0 else 0.0


def prepare_layer(
    layer: Layer,
    place: LayerPlace,
    model: TensorFile,
    hessians: HessianSource,
    options: Quantization,
    say: Callable[[str], None],
) -> None:
    """Make the problem file of a layer, unless it is there. Raises InputError with its name."""
    if place.prepared.exists():
        return
    begun = time.monotonic()
    try:
        weights = read_floats(model, layer.name)
        problem, form = make_problem(layer, weights, hessians, options)
        del weights
        if options.budget is not None:
            work = options.units(layer.padded)
            scale = budget.scale_within(problem, layer.columns, options.budget, work, say)
            problem = QuadraticProblem(problem.Q, problem.targets, scale)
        place.path.mkdir(parents=True, exist_ok=True)
        save_problem(place.problem, problem)
        baselines = compare(problem, form, layer)
    except InputError as exc:
        text = str(exc)
        raise InputError(text if layer.name in text else f"{layer.name}: {text}") from None
    write_json(
        place.prepared,
        {
            "name": layer.name,
            "rows": layer.rows,
            "columns": layer.columns,
            "padded": layer.padded,
            "scale": problem.scale,
            "damping": form.damping,
            "padding": form.padding,
            "energy": form.energy,
            "incoherence": form.seed,
            **baselines,
            "seconds_before": time.monotonic() - begun,
        },
    )


def make_problem(
    layer: Layer, weights: Matrix, hessians: HessianSource, options: Quantization
) -> tuple[QuadraticProblem, Form]:
    """Return the problem of a layer, and how it comes from its Hessian. Raises InputError."""
    form = hessians.matrix(layer.name)
    mean = float(np.diagonal(form).mean())
    if not mean > 0.0:
        raise InputError(f"the mean of the Hessian's diagonal is {mean:.3g}; it must be positive")
    energy = float(np.einsum("ki,ki->", weights @ form, weights))
    share = hessians.damping if options.damping is None else options.damping
    damping = share * mean
    full = np.zeros((layer.padded, layer.padded))
    full[: layer.columns, : layer.columns] = form
    del form
    beyond = np.arange(layer.columns, layer.padded)
    full[beyond, beyond] = mean
    full[np.diag_indices(layer.padded)] += damping
    targets = np.zeros((layer.rows, layer.padded))
    targets[:, : layer.columns] = weights
    if options.incoherence is not None:
        full = rotate_form(full, options.incoherence)
        targets = rotate(targets, options.incoherence)
    scale = 1.0 if options.scale is None else budget.float32(options.scale)
    problem = QuadraticProblem.adopt(full, targets, scale)
    return problem, Form(layer.columns, damping, mean, energy, options.incoherence)


def compare(problem: QuadraticProblem, form: Form, layer: Layer) -> dict[str, float]:
    """Return loss and rate of the usual roundings at the same scale and codebook."""

    def in_blocks(method: Callable[[QuadraticProblem], Rounded]) -> NDArray[np.int32]:
        starts = range(0, problem.k, BASELINE_ROWS)
        parts = [problem.targets[i : i + BASELINE_ROWS] for i in starts]
        return np.concatenate([method(QuadraticProblem(problem.Q, t, s)).doubled for t in parts])

    s = problem.scale
    found = {}
    for key, method in (("nearest", nearest_point), ("ldlq_cd", ldlq_with_descent)):
        doubled = in_blocks(method)
        found[f"proxy_loss_{key}"] = form.loss(problem, doubled)
        found[f"bits_per_weight_{key}"] = budget.rate_of(doubled, s, layer.columns)
    return found


def form_of(prepared: dict[str, Any]) -> Form:
    """Return the form that prepared.json holds."""
    seed = prepared["incoherence"]
    damping, padding, energy = (float(prepared[name]) for name in ("damping", "padding", "energy"))
    columns = int(prepared["columns"])
    return Form(columns, damping, padding, energy, None if seed is None else int(seed))


def complete_layer(layer: Layer, place: LayerPlace) -> None:
    """Write stream and record of a layer whose run has ended, unless they are there.

    Raises InputError for damaged files, InternalError for a stream that does not read back.
    """
    if place.record.exists():
        return
    prepared, result = read_json(place.prepared), load_result(place.run / "result.h5")
    problem = load_problem(place.problem)
    stream = encode_points(result.doubled, problem.scale)
    again, scale = decode_points(stream)
    if scale != problem.scale or not np.array_equal(again, result.doubled):
        raise InternalError(f"{layer.name}: the coded stream does not read back")
    write_synced(place.codes, stream)
    bound = np.where(result.objective > 0.0, result.lower_bound, 1.0)
    objective = np.where(result.objective > 0.0, result.objective, 1.0)
    write_json(
        place.record,
        {
            "name": layer.name,
            "proxy_loss": form_of(prepared).loss(problem, result.doubled),
            "proxy_loss_ldlq_cd": prepared["proxy_loss_ldlq_cd"],
            "proxy_loss_nearest": prepared["proxy_loss_nearest"],
            "scale": problem.scale,
            "bits_per_weight": 8.0 * len(stream) / (layer.rows * layer.columns),
            "bits_per_weight_ldlq_cd": prepared["bits_per_weight_ldlq_cd"],
            "bits_per_weight_nearest": prepared["bits_per_weight_nearest"],
            "seconds": result.wall_seconds,
            "seconds_before": prepared["seconds_before"],
            "rows": layer.rows,
            "columns": layer.columns,
            "padded": layer.padded,
            "damping": prepared["damping"],
            "incoherence": prepared["incoherence"],
            "gap": float(np.mean(1.0 - bound / objective)),
            "certified_rows": int(result.certified.sum()),
            "work": int(result.work.sum()),
            "ranks": result.ranks,
            "fingerprint": result.fingerprint,
            "failures": result.failures,
        },
    )
    place.problem.unlink(missing_ok=True)
