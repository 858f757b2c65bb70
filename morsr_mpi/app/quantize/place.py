"""The directory of a quantization: what it fixes, what is finished, where each layer's files lie.

quantize.json            what was asked for; must be the same when the job goes on
layers/0000-NAME/        problem.h5 and prepared.json, run/ (a run directory), then
                         codes.bin and layer.json, which says that the layer is finished
quantized.safetensors, codes.safetensors, report.json
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morsr_mpi.app.files import replace_file
from morsr_mpi.app.quantize.layers import Layer
from morsr_mpi.app.restarts import QUANTIZE_MANIFEST
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import InputError, UsageError

FORMAT = "morsr-quantize"
VERSION = "1.0"

#: States of a layer when a job begins.
NEW, STARTED, FINISHED = 0, 1, 2


@dataclass(frozen=True)
class LayerPlace:
    """Files of one layer."""

    path: Path

    @property
    def problem(self) -> Path:
        """What its run solves."""
        return self.path / "problem.h5"

    @property
    def prepared(self) -> Path:
        """What was found out while the problem was made."""
        return self.path / "prepared.json"

    @property
    def run(self) -> Path:
        """Its run directory."""
        return self.path / "run"

    @property
    def codes(self) -> Path:
        """Its coded stream."""
        return self.path / "codes.bin"

    @property
    def record(self) -> Path:
        """Its part of the report, written last."""
        return self.path / "layer.json"


class Place:
    """The directory of a quantization; it does not have to exist yet."""

    def __init__(self, path: Path, layers: tuple[Layer, ...]) -> None:
        self.path = path
        self.manifest = path / QUANTIZE_MANIFEST
        self.quantized = path / "quantized.safetensors"
        self.codes = path / "codes.safetensors"
        self.report = path / "report.json"
        self.stop_file = path / "STOP"
        folder = path / "layers"
        self.layers = [LayerPlace(folder / layer.folder(i)) for i, layer in enumerate(layers)]

    def create(self, asked: dict[str, Any]) -> None:
        """Make the directory. Raises UsageError when something is there, or it cannot be made."""
        try:
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UsageError(
                    f"run directory {self.path} exists; go on with it by --resume, or choose "
                    "another --run-dir"
                )
            (self.path / "layers").mkdir(parents=True, exist_ok=True)
            write_json(self.manifest, {"format": FORMAT, "version": VERSION, **asked})
        except OSError as exc:
            raise UsageError(
                f"run directory {self.path} cannot be made ({exc.strerror or exc}); choose a "
                "--run-dir that you may write to"
            ) from None

    def reopen(self, asked: dict[str, Any]) -> list[int]:
        """Open the directory to go on; return the state of each layer.

        Raises UsageError where there is none or it was asked for something else.
        """
        if not self.manifest.exists():
            raise UsageError(f"nothing to resume: {self.path} holds no quantize.json")
        before = read_json(self.manifest)
        if before.get("format") != FORMAT or str(before.get("version")).split(".")[0] != "1":
            raise InputError(f"{self.manifest} is of another version; use that of morsr")
        for name, value in asked.items():
            if before.get(name) != value:
                raise UsageError(
                    f"--resume with another {name}: {before.get(name)!r} then, {value!r} now; "
                    "start a new --run-dir"
                )
        with contextlib.suppress(FileNotFoundError):
            self.stop_file.unlink()
        return [self._state(layer) for layer in self.layers]

    def _state(self, layer: LayerPlace) -> int:
        if layer.record.exists():
            return FINISHED
        if any((layer.run / "checkpoints").glob("checkpoint-*.h5")):
            return STARTED
        if layer.run.exists():
            RunDirectory(layer.run).discard_unbegun()
        return NEW


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    replace_file(path, text.encode(), sync=True)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file of ours. Raises InputError when it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise InputError(f"{path} cannot be read: {exc}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object; it is damaged")
    return found
