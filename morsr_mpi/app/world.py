"""The ranks this process belongs to: alone, or one of an MPI job.

mpi4py is imported, and MPI initialised, only when a launcher started this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.adapters.memory_links import MemoryWorld
from morsr_mpi.app.environment import LaunchInfo, fault_tolerant
from morsr_mpi.base.config import SLOT_BYTES
from morsr_mpi.base.errors import UsageError
from morsr_mpi.base.ports import Clock, Links, Transport

OPEN_MPI = "Open MPI"
#: Transports of a job before its first loss: start, what caches hold, search, end.
TRANSPORTS = 4


class World(Protocol):
    """What `solve` needs of the ranks."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def clock(self) -> Clock: ...

    def transport(self, slot_bytes: int = SLOT_BYTES) -> Transport:
        """Return a new transport over all ranks; all ranks must call."""

    @property
    def fault_tolerant(self) -> bool:
        """Whether deaths of ranks are reported and can be survived."""

    def links(self) -> Links:
        """Return links to all ranks; all ranks must call."""

    def keep(self, ranks: Sequence[int]) -> World:
        """Return the world of these ranks alone, renumbered in their order; each of them calls."""

    def fail(self, error: BaseException) -> int:
        """Report an error that only this rank has, and end all ranks; return the exit code."""


class PlainWorld:
    """One process without MPI."""

    rank = 0
    size = 1
    fault_tolerant = False

    def __init__(self) -> None:
        self.clock = SystemClock()

    def transport(self, slot_bytes: int = SLOT_BYTES) -> Transport:
        """Return a transport of one rank."""
        return MemoryNetwork(1, slot_bytes=slot_bytes).transport(0)

    def links(self) -> Links:
        """Return links to nobody."""
        return MemoryWorld(1).links(0)

    def keep(self, ranks: Sequence[int]) -> World:
        """The one rank there is."""
        return self

    def fail(self, error: BaseException) -> int:
        """Nobody else is to be told."""
        raise error


class MpiWorld:
    """All ranks of MPI's world."""

    def __init__(self, ranks: Sequence[int] | None = None) -> None:
        """ranks: those of MPI's world that take part, default all."""
        from morsr_mpi.adapters import mpi

        self._mpi = mpi
        self._ranks = ranks
        self._comm = mpi.communicator(ranks)
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()
        self._ready: list[Any] = []
        self.clock = SystemClock()
        self.fault_tolerant = self.size > 1 and fault_tolerant()

    def transport(self, slot_bytes: int = SLOT_BYTES) -> Transport:
        """Return a transport over a communicator of its own, good until the first loss."""
        from morsr_mpi.adapters.mpi_links import BreakableTransport

        if self._ready:
            return BreakableTransport(self._ready.pop(), slot_bytes, own=True)
        return BreakableTransport(self._comm, slot_bytes)

    def links(self) -> Links:
        """Return links over a communicator of their own.

        The communicators of transports to come are made at the same time: MPI does not return
        before every rank has called, and in mid-run one may be lost, or have lost the others, and
        nobody would look.
        """
        from morsr_mpi.adapters.mpi_links import MpiLinks

        self._ready = self._mpi.duplicates(self._comm, TRANSPORTS)
        return MpiLinks(self._comm)

    def keep(self, ranks: Sequence[int]) -> World:
        """Only these ranks, by their numbers in this world."""
        known = self._ranks
        return MpiWorld(ranks if known is None else [known[rank] for rank in ranks])

    def fail(self, error: BaseException) -> int:
        """Print one line and abort all ranks; those that have the same error let rank 0 speak."""
        if self.rank != 0:
            self.clock.sleep(0.5)
        return self._mpi.end_process(error, self.rank)


def open_world(info: LaunchInfo) -> World:
    """Return the world of this process.

    Raises UsageError when MPI cannot be loaded, or is another one than the launcher's.
    """
    if not info.launched:
        return PlainWorld()
    try:
        from morsr_mpi.adapters.mpi_start import initialise, load_library

        library = load_library()
    except (ImportError, RuntimeError) as exc:
        text = " ".join(str(exc).split())
        raise UsageError(
            f"started by {info.launcher} but mpi4py cannot load an MPI library ({text}); "
            "`morsr doctor` says what is there"
        ) from exc
    if OPEN_MPI in info.launcher and not any(name in library for name in (OPEN_MPI, "Spectrum")):
        raise UsageError(
            f"{info.launcher} started {info.size} ranks, but mpi4py uses {library}: start with "
            "the mpirun of that MPI, or install mpi4py for the other"
        )
    initialise()
    from morsr_mpi.adapters import mpi

    mismatch = mpi.world_size_mismatch({info.variable: str(info.size)})
    if mismatch is not None:
        raise mismatch
    return MpiWorld()
