"""Build of the C kernels; everything else about the package is in pyproject.toml.

Also the two commands of the README, `python3 setup.py demo` and `python3 setup.py test`:
they need nothing but Python and a C compiler, so they are handed to .ci/bootstrap.py
before setuptools is imported.
"""

# No `from __future__ import annotations`: a Python too old must get as far as saying so.
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent

if len(sys.argv) > 1 and sys.argv[1] in ("demo", "test"):
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(
            f"morsr needs Python 3.11 or newer and this is {sys.version.split()[0]}; start the "
            "same command with a newer one, for example python3.11 (Debian, Ubuntu: apt install "
            "python3.11 python3.11-venv python3.11-dev)"
        )
    sys.path.insert(0, str(ROOT / ".ci"))
    from bootstrap import main

    sys.exit(main(ROOT, sys.argv[1:]))

from setuptools import Extension, setup  # noqa: E402

#: The stable ABI of Python 3.11: one wheel serves 3.11 and everything newer.
LIMITED_API = "0x030B0000"
#: Same bits on every CPU: no contraction into fused operations by the compiler, no fast-math.
CFLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"]
#: A change in any of these rebuilds the extensions.
C_SOURCES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "csrc").rglob("*")
    if path.suffix in (".c", ".h", ".inc")
)


def extension(name: str, pyx: str, sources: list[str]) -> Extension:
    """Return one abi3 extension: a Cython module over stand-alone C in csrc/."""
    return Extension(
        name,
        [pyx, *sources],
        include_dirs=["csrc/include"],
        depends=C_SOURCES,
        extra_compile_args=CFLAGS,
        define_macros=[("Py_LIMITED_API", LIMITED_API), ("CYTHON_LIMITED_API", "1")],
        libraries=["m"],
        py_limited_api=True,
    )


#: Each level file holds all kernels of one kind compiled for one CPU level.
LEVELS = ("baseline", "avx2", "avx512")

setup(
    ext_modules=[
        extension(
            "morsr_mpi.lattice._e8",
            "morsr_mpi/lattice/_e8.pyx",
            [
                "csrc/src/cpu_level.c",
                "csrc/src/e8_dispatch.c",
                *(f"csrc/src/e8_{level}.c" for level in LEVELS),
            ],
        ),
        extension(
            "morsr_mpi.lattice._tiles", "morsr_mpi/lattice/_tiles.pyx", ["csrc/src/tile_code.c"]
        ),
        extension(
            "morsr_mpi.objectives._terms",
            "morsr_mpi/objectives/_terms.pyx",
            [
                "csrc/src/cpu_level.c",
                "csrc/src/term_dispatch.c",
                *(f"csrc/src/term_{level}.c" for level in LEVELS),
                *(f"csrc/src/e8_{level}.c" for level in LEVELS),
            ],
        ),
        extension(
            "morsr_mpi.search._engine",
            "morsr_mpi/search/_engine.pyx",
            [
                "csrc/src/cpu_level.c",
                "csrc/src/engine_dispatch.c",
                *(f"csrc/src/engine_{level}.c" for level in LEVELS),
                # The engine calls the lattice kernels of its own level directly.
                *(f"csrc/src/e8_{level}.c" for level in LEVELS),
            ],
        ),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
