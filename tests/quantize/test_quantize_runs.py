"""Whole quantizations through the command line: files, report, bad input, stop and resume."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from small_model import LAYERS, hessians, weights, write_model

from morsr_mpi.app.entropy import decode_points

ROOT = Path(__file__).resolve().parents[2]
WORK = "3000"
Run = Callable[..., Any]


def documented_decoder() -> Callable[..., Any]:
    """The decoder of docs/formats/quantize.md, run from the page."""
    page = (ROOT / "docs" / "formats" / "quantize.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(code) == 2  # the decoder, and what undoes incoherence processing
    assert len(code[0].strip().splitlines()) <= 40
    names: dict[str, Any] = {}
    for block in code:
        exec(compile(block, "docs/formats/quantize.md", "exec"), names)
    return names["weights"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, morsr: Run) -> Path:
    """A finished run at a given scale, with its report on standard output beside it."""
    folder = tmp_path_factory.mktemp("quantize")
    model, calibration = write_model(folder)
    arguments = [str(model), "--calibration", str(calibration), "--scale", "0.06"]
    done = morsr(
        ["quantize", *arguments, "--run-dir", str(folder / "run"), "--work", WORK, "--json"]
    )
    (folder / "out.json").write_text(done.check().out)
    return folder


def check_files(run: Path, original: dict[str, Any]) -> dict[str, Any]:
    """Check that the files of a run agree with each other; return the report."""
    report: dict[str, Any] = json.loads((run / "report.json").read_text())
    values, codes = load_file(run / "quantized.safetensors"), load_file(run / "codes.safetensors")
    assert set(values) == set(original)
    assert set(codes) == set(LAYERS)
    for name, array in original.items():
        if name not in LAYERS:
            assert values[name].dtype == array.dtype
            assert np.array_equal(values[name], array)
    decode = documented_decoder()
    for name in LAYERS:
        assert np.array_equal(decode(run / "codes.safetensors", name), values[name])
    for layer in report["layers"]:
        name, form = layer["name"], hessians()[layer["name"]]
        exact = original[name].astype(np.float64)
        error = values[name].astype(np.float64) - exact
        loss = np.sum((error @ form) * error) / np.sum((exact @ form) * exact)
        assert layer["proxy_loss"] == pytest.approx(loss, rel=1e-4)
        assert layer["proxy_loss"] <= layer["proxy_loss_ldlq_cd"]
        assert layer["bits_per_weight"] == 8 * len(codes[name]) / exact.size
        _, scale = decode_points(codes[name].tobytes())
        assert layer["scale"] == scale
    return report


def test_the_files_agree_and_the_stream_decodes_to_the_weights(finished: Path) -> None:
    report = check_files(finished / "run", weights())
    assert report == json.loads((finished / "out.json").read_text())
    assert report["finished"]
    assert [layer["name"] for layer in report["layers"]] == ["a.weight", "c.weight", "b.weight"]
    padded = {layer["name"]: layer["padded"] for layer in report["layers"]}
    assert padded == {"a.weight": 48, "b.weight": 24, "c.weight": 32}
    for layer in report["layers"]:
        assert layer["seconds"] > 0.0
        assert 0.0 <= layer["gap"] <= 1.0
        assert layer["scale"] == float(np.float32(0.06))
    with safe_open(finished / "run" / "codes.safetensors", framework="numpy") as file:
        assert file.metadata()["format"] == "morsr-codes"


def test_each_layer_leaves_a_sound_run_directory(finished: Path, morsr: Run) -> None:
    run = finished / "run" / "layers" / "0000-a.weight" / "run"
    morsr(["audit", str(run)]).check()


def test_incoherence_is_recorded_and_decoded(tmp_path: Path, morsr: Run) -> None:
    model, calibration = write_model(tmp_path)
    arguments = [str(model), "--calibration", str(calibration), "--bits", "2.5"]
    arguments += ["--incoherence", "11", "--run-dir", str(tmp_path / "run"), "--work", WORK]
    done = morsr(["quantize", *arguments]).check()
    report = check_files(tmp_path / "run", weights())
    assert all(layer["incoherence"] == 11 for layer in report["layers"])
    assert "below LDLQ+10CD" in done.out
    assert "no multiple of 8: 1" in done.out


def test_a_run_that_exists_is_not_overwritten(finished: Path, morsr: Run) -> None:
    model, calibration = finished / "model.safetensors", finished / "calibration.npz"
    arguments = ["quantize", str(model), "--calibration", str(calibration)]
    arguments += ["--run-dir", str(finished / "run"), "--work", WORK]
    again = morsr([*arguments, "--scale", "0.06"])
    assert (again.code, again.err.count("\n")) == (64, 1)
    other = morsr([*arguments, "--scale", "0.07", "--resume"])
    assert other.code == 64
    assert "another scale" in other.err


def test_what_was_finished_is_not_done_again(finished: Path, tmp_path: Path, morsr: Run) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished / "run", run)
    last = run / "layers" / "0002-b.weight"
    shutil.rmtree(last)
    stamp = (run / "layers" / "0000-a.weight" / "layer.json").stat().st_mtime_ns
    before = {name: (run / name).read_bytes() for name in ("quantized.safetensors",)}
    (run / "quantized.safetensors").unlink()
    arguments = [str(finished / "model.safetensors"), "--scale", "0.06", "--work", WORK]
    arguments += ["--calibration", str(finished / "calibration.npz"), "--run-dir", str(run)]
    morsr(["quantize", *arguments, "--resume"]).check()
    assert (run / "layers" / "0000-a.weight" / "layer.json").stat().st_mtime_ns == stamp
    assert (run / "quantized.safetensors").read_bytes() == before["quantized.safetensors"]


def _fails(tmp_path: Path, morsr: Run, tensors: dict[str, Any], forms: dict[str, Any]) -> str:
    """Quantise; return the one line of the error, exit code 65."""
    save_file(tensors, tmp_path / "m.safetensors")
    np.savez(tmp_path / "h.npz", **forms)
    arguments = [str(tmp_path / "m.safetensors"), "--hessians", str(tmp_path / "h.npz")]
    done = morsr(
        ["quantize", *arguments, "--run-dir", str(tmp_path / "run"), "--work", WORK, "--bits", "2"]
    )
    lines = [line for line in done.err.splitlines() if "error" in line]
    assert done.code == 65, done.err
    assert len(lines) == 1
    assert "Traceback" not in done.err
    return lines[0]


def test_nan_weights_end_the_job_and_finished_layers_are_kept(tmp_path: Path, morsr: Run) -> None:
    tensors, forms = weights(), hessians()
    tensors["b.weight"][2, 3] = np.nan
    forms = {name: form + 0.1 * np.eye(len(form)) for name, form in forms.items()}
    line = _fails(tmp_path, morsr, tensors, forms)
    assert "b.weight[2, 3] is not finite" in line
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [layer["name"] for layer in report["layers"]] == ["a.weight", "c.weight"]
    assert not report["finished"]


def test_a_hessian_that_is_not_positive_is_named(tmp_path: Path, morsr: Run) -> None:
    forms = hessians()
    forms["a.weight"][5, 5] = -1.0
    line = _fails(tmp_path, morsr, weights(), forms)
    assert "a.weight" in line
    assert "not positive definite" in line


def test_codebooks_that_are_not_there_yet_are_refused(tmp_path: Path, morsr: Run) -> None:
    for codebook in ("ball", "rate"):
        arguments = [
            "m",
            "--hessians",
            "h",
            "--codebook",
            codebook,
            "--run-dir",
            str(tmp_path / "r"),
        ]
        done = morsr(["quantize", *arguments])
        assert (done.code, done.err.count("\n")) == (64, 1)
        assert codebook in done.err
