"""Data, training and the problems made from the network."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from morsr_mpi.app.demo.data import HELD_OUT, load_digits
from morsr_mpi.app.demo.layers import DAMPING, SCALE_PER_DEVIATION, make_layers
from morsr_mpi.app.demo.network import WIDTHS, Network, gradients, initial_network, train

DIGITS = load_digits()
NETWORK = train(DIGITS)


def test_all_digits_are_there_once() -> None:
    assert DIGITS.test_images.shape == (HELD_OUT, 64)
    assert DIGITS.train_images.shape == (1797 - HELD_OUT, 64)
    images = np.concatenate([DIGITS.train_images, DIGITS.test_images])
    labels = np.concatenate([DIGITS.train_labels, DIGITS.test_labels])
    assert images.min() == 0.0
    assert images.max() == 1.0
    # The counts of the UCI collection, from its description: about 180 of each digit.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert len(np.unique(images, axis=0)) == 1797


def test_training_is_repeatable() -> None:
    def digest(network: Network) -> str:
        arrays = [*network.weights, *network.biases]
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()

    assert digest(train(DIGITS, epochs=3)) == digest(train(DIGITS, epochs=3))


def test_accuracy_on_digits_never_seen() -> None:
    assert NETWORK.accuracy(DIGITS.train_images, DIGITS.train_labels) > 0.99
    # 97.2 % with the arithmetic it was made with; other machines may differ in a few images.
    assert NETWORK.accuracy(DIGITS.test_images, DIGITS.test_labels) > 0.96


def test_gradients_are_those_of_the_loss() -> None:
    network = initial_network(np.random.Generator(np.random.PCG64(3)))
    images, labels = DIGITS.train_images[:20], DIGITS.train_labels[:20]

    def loss(changed: Network) -> float:
        scores = changed.layer_inputs(images)[-1]
        shifted = scores - scores.max(axis=1, keepdims=True)
        chosen = shifted[np.arange(20), labels] - np.log(np.exp(shifted).sum(axis=1))
        return -float(chosen.mean())

    slopes, bias_slopes = gradients(network, images, labels)
    for layer in range(3):
        step = 1e-6
        place = (1, 3)
        weights = [w.copy() for w in network.weights]
        weights[layer][place] += step
        numeric = (loss(network.with_weights(weights)) - loss(network)) / step
        assert numeric == pytest.approx(slopes[layer][place], rel=1e-3, abs=1e-7)
        biases = [b.copy() for b in network.biases]
        biases[layer][2] += step
        numeric = (loss(Network(network.weights, tuple(biases))) - loss(network)) / step
        assert numeric == pytest.approx(bias_slopes[layer][2], rel=1e-3, abs=1e-7)


def test_layers_are_whole_tiles() -> None:
    assert all(width % 8 == 0 for width in WIDTHS[:-1])


def test_proxy_loss_is_the_error_of_the_outputs() -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    inputs = NETWORK.layer_inputs(DIGITS.train_images)
    for index, layer in enumerate(make_layers(NETWORK, DIGITS.train_images)):
        changed = layer.weights + 0.1 * generator.standard_normal(layer.weights.shape)
        exact = inputs[index] @ layer.weights.T
        off = inputs[index] @ changed.T - exact
        assert layer.proxy_loss(changed) == pytest.approx(np.sum(off**2) / np.sum(exact**2))
        assert layer.proxy_loss(layer.weights) == 0.0


def test_problems_are_damped_hessians_with_rows_as_targets() -> None:
    layers = make_layers(NETWORK, DIGITS.train_images)
    assert [(layer.problem.n, layer.problem.k) for layer in layers] == [
        (64, 32),
        (32, 16),
        (16, 10),
    ]
    for layer in layers:
        problem = layer.problem
        extra = problem.Q - layer.hessian
        expected = DAMPING * np.trace(layer.hessian) / problem.n
        np.testing.assert_allclose(np.diagonal(extra), expected, rtol=1e-9)
        assert np.count_nonzero(extra - np.diag(np.diagonal(extra))) == 0
        assert np.linalg.eigvalsh(problem.Q)[0] > 0.9 * expected
        np.testing.assert_array_equal(problem.targets, layer.weights)
        deviation = layer.weights.std()
        assert problem.scale == pytest.approx(SCALE_PER_DEVIATION * deviation, rel=1e-6)
        assert problem.scale == float(np.float32(problem.scale))
