"""From a trained network to one lattice problem per layer, and back to weights.

Replacing a layer's weights W by points V of the lattice changes its outputs on the training
images by X (V - W)^T: the summed square is tr((V - W) X^T X (V - W)^T). So the Hessian
H = X^T X / images is the quadratic form, the rows of W are targets that share it, and the
relative error of the outputs, tr(D H D^T) / tr(W H W^T), is the proxy loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.app.demo.network import Matrix, Network
from morsr_mpi.objectives.problem import QuadraticProblem

#: Added to the diagonal of H, times its mean, as is usual in quantisation: pixels that are always
#: blank would otherwise leave H singular.
DAMPING = 0.01
#: Scale of the lattice over the standard deviation of a layer's weights: about 2 bits per weight.
SCALE_PER_DEVIATION = 1.033


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer: weights [out, in], Hessian [in, in] without damping, and the problem to solve."""

    name: str
    weights: Matrix
    hessian: Matrix
    problem: QuadraticProblem

    def points(self, doubled: NDArray[np.int32]) -> Matrix:
        """Return the weights [out, in] that doubled coordinates [out, in] stand for."""
        return doubled.astype(np.float64) * (self.problem.scale / 2.0)

    def proxy_loss(self, weights: Matrix) -> float:
        """Return the relative squared error of the layer's outputs, under H without damping."""
        error = weights - self.weights
        return _form(error, self.hessian) / _form(self.weights, self.hessian)

    def damped_loss(self, weights: Matrix) -> float:
        """Return the same ratio under the damped Hessian, the quantity that is minimised."""
        error = weights - self.weights
        return _form(error, self.problem.Q) / _form(self.weights, self.problem.Q)


def _form(rows: Matrix, hessian: Matrix) -> float:
    """Return tr(R H R^T) of rows R."""
    return float(np.sum((rows @ hessian) * rows))


def make_layers(network: Network, images: Matrix) -> list[Layer]:
    """Return the problem of every layer, with Hessians from the given images [images, 64]."""
    layers = []
    for index, (weights, inputs) in enumerate(
        zip(network.weights, network.layer_inputs(images), strict=False), start=1
    ):
        hessian = inputs.T @ inputs / len(inputs)
        hessian = (hessian + hessian.T) / 2.0
        damped = hessian + DAMPING * np.diagonal(hessian).mean() * np.eye(len(hessian))
        # A float32 value, so that the coded stream holds the scale in four bytes, exactly.
        scale = float(np.float32(SCALE_PER_DEVIATION * weights.std()))
        problem = QuadraticProblem.create(damped, weights, scale)
        layers.append(Layer(f"layer{index}", weights, hessian, problem))
    return layers
