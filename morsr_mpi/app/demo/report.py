"""What a demo found: as an object, as JSON, as the files it leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morsr_mpi.app.demo.methods import FLOAT, KEYS, LDLQ, MORSR, MethodOutcome
from morsr_mpi.app.demo.network import Network
from morsr_mpi.base.version import __version__


@dataclass(frozen=True)
class SameBits:
    """One layer solved again on another number of ranks, and the digests of both solutions."""

    layer: str
    ranks: tuple[int, int]
    digests: tuple[str, str]

    @property
    def same(self) -> bool:
        """Whether every bit of the two solutions is equal."""
        return self.digests[0] == self.digests[1]


@dataclass(frozen=True, eq=False)
class DemoReport:
    """Outcome of a demo; methods in the order of the table. seconds: of the whole demo."""

    run_dir: Path
    ranks: int
    work: int
    rows: tuple[int, ...]
    methods: tuple[MethodOutcome, ...]
    same_bits: SameBits
    seconds: float

    def method(self, name: str) -> MethodOutcome:
        """Return the outcome of a method by its name."""
        return next(method for method in self.methods if method.name == name)

    def gains(self, over: str = LDLQ) -> list[float]:
        """Return, per layer, by which share morsr's proxy loss is below that of a method."""
        pairs = zip(self.method(MORSR).layers, self.method(over).layers, strict=True)
        return [1.0 - ours.proxy_loss / theirs.proxy_loss for ours, theirs in pairs]

    def to_json(self) -> dict[str, Any]:
        """Return what `morsr demo --json` prints and demo.json holds."""
        return {
            "software": f"morsr {__version__}",
            "run_dir": str(self.run_dir),
            "ranks": self.ranks,
            "work": self.work,
            "seconds": self.seconds,
            "methods": [_method_json(method, self.rows) for method in self.methods],
            "gain_over_ldlq": self.gains(),
            "same_bits": {
                "layer": self.same_bits.layer,
                "ranks": list(self.same_bits.ranks),
                "solution_digests": list(self.same_bits.digests),
                "same": self.same_bits.same,
            },
        }


def _method_json(method: MethodOutcome, rows: tuple[int, ...]) -> dict[str, Any]:
    return {
        "name": method.name,
        "accuracy": method.accuracy,
        "bits_per_weight": method.bits_per_weight,
        "seconds": method.seconds,
        "layers": [
            {
                "name": layer.name,
                "proxy_loss": layer.proxy_loss,
                "damped_loss": layer.damped_loss,
                "bits_per_weight": layer.bits_per_weight,
                "bytes": layer.bytes,
                "seconds": layer.seconds,
                "targets": count,
                "certified": layer.proven,
            }
            for layer, count in zip(method.layers, rows, strict=True)
        ],
    }


def write_files(report: DemoReport, network: Network) -> None:
    """Write demo.json and quantised.npz (docs/demo.md says what is in them)."""
    text = json.dumps(report.to_json(), indent=2)
    (report.run_dir / "demo.json").write_text(text + "\n", encoding="utf-8")
    arrays: dict[str, Any] = {}
    for layer, bias in zip(report.method(FLOAT).layers, network.biases, strict=True):
        arrays[f"{layer.name}.float"] = layer.weights.astype(np.float32)
        arrays[f"{layer.name}.bias"] = bias
    for method in report.methods:
        for layer in method.layers:
            if layer.stream is not None:
                key = f"{layer.name}.{KEYS[method.name]}"
                arrays[key] = layer.weights
                arrays[f"{key}.stream"] = np.frombuffer(layer.stream, dtype=np.uint8)
    with (report.run_dir / "quantised.npz").open("wb") as stream:
        np.savez_compressed(stream, **arrays)
