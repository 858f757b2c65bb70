"""Initialises MPI after a look at whose library it is.

A library of another MPI than the launcher's aborts inside MPI_Init, or leaves every process
alone in a world of its own. Asked for its version first, it can be named instead.
"""

from __future__ import annotations

import warnings

import mpi4py


def load_library() -> str:
    """Load the MPI library, without MPI_Init; return its name and version.

    Raises ImportError or RuntimeError when there is none.
    """
    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = True
    from mpi4py import MPI

    first = MPI.Get_library_version().replace("\0", "").strip().splitlines()[0]
    return " ".join(first.split(",")[0].split())


def initialise() -> None:
    """Initialise MPI unless that has been done; it is finalised when the process ends."""
    from mpi4py import MPI

    if not MPI.Is_initialized():
        with warnings.catch_warnings():
            # mpi4py suspects mixed MPIs from the environment; we find out and end the run.
            warnings.simplefilter("ignore", RuntimeWarning)
            MPI.Init_thread(MPI.THREAD_MULTIPLE)
