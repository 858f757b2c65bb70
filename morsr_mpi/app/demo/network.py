"""A small network for the demo: three dense layers with ReLU, trained in NumPy alone.

Training has a fixed seed and takes a second. Its matrix products are NumPy's, so its bits may
differ between machines; within one demo it is done once, and every rank reads the problem
files made from that one network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.app.demo.data import Digits

Matrix = NDArray[np.float64]

#: Width of the input, the hidden layers and the output; every layer's input is whole tiles of 8.
WIDTHS = (64, 32, 16, 10)
SEED = 1
EPOCHS = 60
BATCH = 32
LEARNING_RATE = 0.05
MOMENTUM = 0.9
#: Decay keeps weights of pixels that are always blank from staying at their random start.
WEIGHT_DECAY = 1e-3


@dataclass(frozen=True)
class Network:
    """Weights [out, in] and biases [out] of each layer, first layer first."""

    weights: tuple[Matrix, ...]
    biases: tuple[Matrix, ...]

    def layer_inputs(self, images: Matrix) -> list[Matrix]:
        """Return what each layer receives, [images, in] per layer, then the final scores."""
        inputs = [images]
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = inputs[-1] @ weight.T + bias
            inputs.append(value if index == len(self.weights) - 1 else np.maximum(value, 0.0))
        return inputs

    def accuracy(self, images: Matrix, labels: NDArray[np.int64]) -> float:
        """Return the share of images whose highest score is the right digit."""
        scores = self.layer_inputs(images)[-1]
        return float(np.mean(np.argmax(scores, axis=1) == labels))

    def with_weights(self, weights: Sequence[Matrix]) -> Network:
        """Return the same network with other weights; the biases stay."""
        return Network(tuple(weights), self.biases)


def initial_network(generator: np.random.Generator) -> Network:
    """Return random weights of the usual size for ReLU layers (variance 2 / inputs)."""
    weights = tuple(
        generator.standard_normal((out, width)) * np.sqrt(2.0 / width)
        for width, out in itertools.pairwise(WIDTHS)
    )
    return Network(weights, tuple(np.zeros(out) for out in WIDTHS[1:]))


def gradients(
    network: Network, images: Matrix, labels: NDArray[np.int64]
) -> tuple[list[Matrix], list[Matrix]]:
    """Return the gradients of the mean cross-entropy for weights and biases of each layer."""
    inputs = network.layer_inputs(images)
    scores = inputs[-1] - inputs[-1].max(axis=1, keepdims=True)
    delta = np.exp(scores)
    delta /= delta.sum(axis=1, keepdims=True)
    delta[np.arange(len(labels)), labels] -= 1.0
    delta /= len(labels)
    weight_gradients: list[Matrix] = []
    bias_gradients: list[Matrix] = []
    for index in range(len(network.weights) - 1, -1, -1):
        weight_gradients.insert(0, delta.T @ inputs[index])
        bias_gradients.insert(0, delta.sum(axis=0))
        if index > 0:
            delta = (delta @ network.weights[index]) * (inputs[index] > 0.0)
    return weight_gradients, bias_gradients


def train(digits: Digits, epochs: int = EPOCHS) -> Network:
    """Train by mini-batch gradient descent with momentum, the rate falling to zero as a cosine."""
    generator = np.random.Generator(np.random.PCG64(SEED))
    network = initial_network(generator)
    parameters = [*network.weights, *network.biases]
    layers = len(network.weights)
    velocity = [np.zeros_like(value) for value in parameters]
    count = len(digits.train_labels)
    for epoch in range(epochs):
        rate = LEARNING_RATE * 0.5 * (1.0 + np.cos(np.pi * epoch / epochs))
        order = generator.permutation(count)
        for start in range(0, count, BATCH):
            batch = order[start : start + BATCH]
            weight_gradients, bias_gradients = gradients(
                network, digits.train_images[batch], digits.train_labels[batch]
            )
            steps = [
                gradient + WEIGHT_DECAY * weight
                for gradient, weight in zip(weight_gradients, network.weights, strict=True)
            ]
            for slot, gradient in enumerate([*steps, *bias_gradients]):
                velocity[slot] = MOMENTUM * velocity[slot] - rate * gradient
                parameters[slot] = parameters[slot] + velocity[slot]
            network = Network(tuple(parameters[:layers]), tuple(parameters[layers:]))
    return network
