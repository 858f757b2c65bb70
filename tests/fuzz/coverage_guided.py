"""Coverage-guided fuzzing of one target with atheris: `python coverage_guided.py TARGET SECONDS`.

Starts from the target's seeds and tests/fuzz/corpus; what fails is written beside it as
TARGET-DIGEST.bin, to become a regression (tests/fuzz/test_corpus.py). Exit code 77 where atheris
is not installed; it is no dependency of the tests.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def main() -> int:
    name, seconds = sys.argv[1], int(sys.argv[2])
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: pip install atheris")
        return 77
    with atheris.instrument_imports(include=["morsr_mpi"]):
        from targets import SEEDS, TARGETS
    target = TARGETS[name]

    def one(data: bytes) -> None:
        try:
            target(data)
        except BaseException:
            digest = hashlib.sha256(data).hexdigest()[:12]
            (HERE / "corpus" / f"{name}-{digest}.bin").write_bytes(data)
            raise

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate([*SEEDS[name], *_kept(name)]):
            (Path(folder) / str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-rss_limit_mb=1024"]
        atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", folder], one)
        atheris.Fuzz()
    return 0


def _kept(name: str) -> list[bytes]:
    """Inputs of earlier findings."""
    return [path.read_bytes() for path in sorted((HERE / "corpus").glob(f"{name}-*.bin"))]


if __name__ == "__main__":
    sys.exit(main())
