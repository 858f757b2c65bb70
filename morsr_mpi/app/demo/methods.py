"""What is compared: float weights, nearest point, LDLQ with coordinate descent, morsr.

All roundings of a layer use the same lattice at the same scale and the same coder, so that they
differ in nothing but the points they choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.app.demo.data import Digits
from morsr_mpi.app.demo.layers import Layer
from morsr_mpi.app.demo.network import Matrix, Network
from morsr_mpi.app.entropy import encode_points
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.ldlq import Rounded, ldlq_with_descent, nearest_point

FLOAT = "float32"
NEAREST = "nearest point"
LDLQ = "LDLQ + 10 CD"
MORSR = "morsr"
#: What a method is called in quantised.npz.
KEYS = {NEAREST: "nearest", LDLQ: "ldlq_cd", MORSR: "morsr"}

#: The methods that need no cluster.
BASELINES: dict[str, Callable[[QuadraticProblem], Rounded]] = {
    NEAREST: nearest_point,
    LDLQ: ldlq_with_descent,
}


@dataclass(frozen=True, eq=False)
class LayerOutcome:
    """One layer by one method.

    weights [out, in]; stream: the coded bytes, None for float weights; proxy_loss and
    damped_loss: see `Layer`; seconds: of the rounding; proven: targets certified optimal.
    """

    name: str
    weights: Matrix
    stream: bytes | None
    proxy_loss: float
    damped_loss: float
    seconds: float
    proven: int = 0

    @property
    def bytes(self) -> int:
        """Size of the stored layer: its coded stream, or four bytes per float weight."""
        return 4 * int(self.weights.size) if self.stream is None else len(self.stream)

    @property
    def bits_per_weight(self) -> float:
        """Bits of the stored layer, header and scale included, over its weights."""
        return 8.0 * self.bytes / self.weights.size


@dataclass(frozen=True, eq=False)
class MethodOutcome:
    """All layers by one method, and the accuracy of the network made of them (0 to 1)."""

    name: str
    layers: tuple[LayerOutcome, ...]
    accuracy: float

    @property
    def bits_per_weight(self) -> float:
        """Bits over weights of all layers together."""
        weights = sum(int(layer.weights.size) for layer in self.layers)
        return 8.0 * sum(layer.bytes for layer in self.layers) / weights

    @property
    def seconds(self) -> float:
        """Seconds of all layers together."""
        return sum(layer.seconds for layer in self.layers)


def keep_float(layer: Layer) -> LayerOutcome:
    """Return the layer as float32, the usual way to store it."""
    weights = layer.weights.astype(np.float32).astype(np.float64)
    losses = layer.proxy_loss(weights), layer.damped_loss(weights)
    return LayerOutcome(layer.name, weights, None, *losses, seconds=0.0)


def outcome_of(
    layer: Layer, doubled: NDArray[np.int32], seconds: float, proven: int = 0
) -> LayerOutcome:
    """Return the outcome of rounding a layer to the given points [out, in]."""
    weights = layer.points(doubled)
    stream = encode_points(doubled, layer.problem.scale)
    losses = layer.proxy_loss(weights), layer.damped_loss(weights)
    return LayerOutcome(layer.name, weights, stream, *losses, seconds, proven)


def assemble(
    name: str, layers: Sequence[LayerOutcome], network: Network, digits: Digits
) -> MethodOutcome:
    """Put the layers into the network and measure it on the images that were held out."""
    changed = network.with_weights([layer.weights for layer in layers])
    accuracy = changed.accuracy(digits.test_images, digits.test_labels)
    return MethodOutcome(name, tuple(layers), accuracy)
