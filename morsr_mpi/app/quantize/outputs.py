"""The files a finished quantization leaves (docs/formats/quantize.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.adapters.hdf5_result import load_result
from morsr_mpi.adapters.safetensors_file import write_safetensors
from morsr_mpi.adapters.tensor_file import TensorFile, TensorInfo
from morsr_mpi.app.quantize.incoherence import unrotate
from morsr_mpi.app.quantize.layers import Layer
from morsr_mpi.app.quantize.options import Quantization
from morsr_mpi.app.quantize.place import Place, read_json, write_json
from morsr_mpi.base.version import __version__

CODES_FORMAT = "morsr-codes"
CODES_VERSION = "1.0"
#: Bytes of a tensor that are copied at a time.
COPY_BYTES = 16 << 20


def weights_of(
    doubled: NDArray[np.int32], scale: float, columns: int, seed: int | None
) -> NDArray[np.float32]:
    """Return the weights [rows, columns] that points stand for, rounded to float32 once."""
    points = np.asarray(doubled * (0.5 * scale), dtype=np.float64)
    if seed is not None:
        points = unrotate(points, seed)
    return points[:, :columns].astype(np.float32)


def write_outputs(
    place: Place, layers: Sequence[Layer], model: TensorFile, options: Quantization
) -> dict[str, Any]:
    """Write both tensor files and the report of a finished job; return the report."""
    number = {layer.name: i for i, layer in enumerate(layers)}
    seed = options.incoherence

    def quantized(name: str) -> Iterator[NDArray[np.generic]]:
        info = model.tensors[name]
        if name not in number:
            row = max(1, info.nbytes // max(1, info.shape[0] if info.shape else 1))
            yield from model.blocks(name, max(1, COPY_BYTES // row))
            return
        layer, files = layers[number[name]], place.layers[number[name]]
        scale = float(read_json(files.record)["scale"])
        doubled = load_result(files.run / "result.h5").doubled
        step = max(1, COPY_BYTES // (8 * layer.padded))
        for first in range(0, layer.rows, step):
            yield weights_of(doubled[first : first + step], scale, layer.columns, seed)

    infos = {
        name: TensorInfo("F32", info.shape) if name in number else info
        for name, info in model.tensors.items()
    }
    data = ((name, quantized(name)) for name in infos)
    write_safetensors(place.quantized, infos, data, {"format": "pt"})
    streams = {layer.name: place.layers[i].codes for i, layer in enumerate(layers)}
    sizes = {name: TensorInfo("U8", (path.stat().st_size,)) for name, path in streams.items()}
    codes = (
        (name, iter((np.frombuffer(path.read_bytes(), np.uint8),)))
        for name, path in streams.items()
    )
    shapes = {layer.name: {"shape": [layer.rows, layer.columns]} for layer in layers}
    described = {
        "format": CODES_FORMAT,
        "version": CODES_VERSION,
        "codebook": options.codebook,
        "incoherence": json.dumps(seed),
        "layers": json.dumps(shapes, separators=(",", ":")),
    }
    write_safetensors(place.codes, sizes, codes, described)
    return write_report(place, layers, options)


def write_report(place: Place, layers: Sequence[Layer], options: Quantization) -> dict[str, Any]:
    """Write report.json with the layers finished so far; return it."""
    records = [read_json(files.record) for files in place.layers if files.record.exists()]
    weights = sum(record["rows"] * record["columns"] for record in records)
    bits = sum(r["bits_per_weight"] * r["rows"] * r["columns"] for r in records)
    gains = [gain_of(record) for record in records]
    report = {
        "software": f"morsr {__version__}",
        "codebook": options.codebook,
        "bits_asked": options.budget,
        "work_per_row": options.work,
        "finished": len(records) == len(layers),
        "bits_per_weight": bits / weights if weights else None,
        "mean_gain_over_ldlq_cd": float(np.mean(gains)) if gains else None,
        "least_gain_over_ldlq_cd": min(gains) if gains else None,
        "layers": records,
    }
    write_json(place.report, report)
    return report


def gain_of(record: dict[str, Any]) -> float:
    """Return by which share a layer's loss is below that of LDLQ with coordinate descent."""
    peer = float(record["proxy_loss_ldlq_cd"])
    return 1.0 - float(record["proxy_loss"]) / peer if peer > 0.0 else 0.0
