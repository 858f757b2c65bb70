"""MPI transport: exchange rounds by Iallgather, frames over point-to-point.

The only module that imports mpi4py, and importing it initialises MPI. It works on a
communicator of its own, so nothing else in the process can take its messages.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Mapping
from types import TracebackType

from mpi4py import MPI

from morsr_mpi.adapters.memory import check_frame, check_slot
from morsr_mpi.base.config import (
    MAX_FRAMES_PER_POLL,
    MAX_PENDING_SENDS,
    MAX_UNSENT_BYTES,
    SLOT_BYTES,
)
from morsr_mpi.base.errors import EXIT_INTERNAL, InternalError, MorsrError, UsageError

_TAG = 1
#: Open MPI looks at part of its network layers in every eighth call only. A rank that sleeps
#: between single tests would need eight sleeps to see what has long arrived.
_TESTS = 9


class MpiTransport:
    """Transport port over one communicator."""

    def __init__(self, comm: MPI.Intracomm | None = None) -> None:
        """comm: whose ranks take part, default all; it is duplicated, so all must call."""
        self._comm = (comm or MPI.COMM_WORLD).Dup()
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()
        self._out = bytearray(SLOT_BYTES)
        self._in = bytearray(SLOT_BYTES * self.size)
        self._round: MPI.Request | None = None
        self._leaving: MPI.Request | None = None
        self._left = False
        self._sending: deque[tuple[MPI.Request, bytes]] = deque()
        self._queue: deque[tuple[int, bytes]] = deque()
        self._receiving: deque[tuple[int, MPI.Request, bytearray]] = deque()
        self._unsent = 0
        self._status = MPI.Status()

    def start_round(self, slot: bytes) -> None:
        """Start the collective."""
        check_slot(slot, self._round is not None)
        self._out[:] = slot
        self._round = self._comm.Iallgather(
            (self._out, SLOT_BYTES, MPI.BYTE), (self._in, SLOT_BYTES, MPI.BYTE)
        )

    def poll_round(self) -> list[bytes] | None:
        """Test the collective."""
        if self._round is None or not _complete(self._round):
            return None
        self._round = None
        found = bytes(self._in)
        return [found[i : i + SLOT_BYTES] for i in range(0, len(found), SLOT_BYTES)]

    def send(self, dest: int, frame: bytes) -> None:
        """Start to send; at most `MAX_PENDING_SENDS` are with MPI, the others wait here."""
        check_frame(frame, dest, self.rank, self.size)
        if self._unsent + len(frame) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        self._unsent += len(frame)
        self._queue.append((dest, frame))
        self._push()

    def poll(self) -> list[tuple[int, bytes]]:
        """Receive what is there, and go on sending.

        Receives do not block: a large frame moves only while its sender looks at the network.
        """
        if self._sending or self._queue:
            self._push()
        while len(self._receiving) < MAX_FRAMES_PER_POLL:
            message = self._next_message()
            if message is None:
                break
            source, length = self._status.Get_source(), self._status.Get_count(MPI.BYTE)
            frame = bytearray(length)
            self._receiving.append((source, message.Irecv((frame, length, MPI.BYTE)), frame))
        found: list[tuple[int, bytes]] = []
        late: set[int] = set()  # what follows from the same source has to wait for its turn
        still: deque[tuple[int, MPI.Request, bytearray]] = deque()
        for item in self._receiving:
            source, request, frame = item
            if source in late or not request.Test():
                late.add(source)
                still.append(item)
            else:
                found.append((source, bytes(frame)))
        self._receiving = still
        return found

    @property
    def under_way(self) -> bool:
        """Whether frames are being sent or received."""
        return bool(self._sending or self._queue or self._receiving)

    def leave(self) -> bool:
        """Enter a barrier and test it."""
        if self.under_way:
            self._push()
            return False
        if self._leaving is None:
            self._leaving = self._comm.Ibarrier()
        self._left = self._left or self._leaving.Test()
        return self._left

    def close(self) -> None:
        """Free the communicator, unless something is still under way on it."""
        if self._left and not self._sending and not self._receiving:
            self._comm.Free()

    def _next_message(self) -> MPI.Message | None:
        """Return the next frame that has been announced; None when there is none."""
        for _ in range(_TESTS):
            message = self._comm.Improbe(MPI.ANY_SOURCE, _TAG, self._status)
            if message is not None:
                return message
        return None

    def _push(self) -> None:
        """Complete sends in any order, start others in theirs."""
        if self._sending:
            open_sends = deque(item for item in self._sending if not item[0].Test())
            if len(open_sends) != len(self._sending):
                self._sending = open_sends
        while self._queue and len(self._sending) < MAX_PENDING_SENDS:
            dest, frame = self._queue.popleft()
            self._unsent -= len(frame)
            request = self._comm.Isend((frame, len(frame), MPI.BYTE), dest, _TAG)
            self._sending.append((request, frame))


def _complete(request: MPI.Request) -> bool:
    """Test often enough that every part of the MPI library had its turn (`_TESTS`)."""
    return any(request.Test() for _ in range(_TESTS))


def world_size() -> int:
    """Number of ranks of the MPI world."""
    return MPI.COMM_WORLD.Get_size()


def world_rank() -> int:
    """This process's rank in the MPI world."""
    return MPI.COMM_WORLD.Get_rank()


def library() -> str:
    """Name and version of the MPI library in use."""
    return MPI.Get_library_version().replace("\0", "").strip().splitlines()[0].split(",")[0]


def fault_tolerance_enabled(environ: Mapping[str, str]) -> bool:
    """Whether deaths of ranks can be survived.

    environ: the process's environment. Open MPI's `mpirun --with-ft ulfm` sets
    OMPI_MCA_mpi_ft_enable in that of its ranks; without it Get_failed and Revoke work on a
    rank's own communicators all the same, but a death ends the job.
    """
    launched = environ.get("OMPI_MCA_mpi_ft_enable", "").lower() in ("1", "true", "yes")
    return launched and "Open MPI" in MPI.Get_library_version()


#: Variables in which launchers announce the size of the world, and whose they are.
_ANNOUNCED = (
    ("OMPI_COMM_WORLD_SIZE", "Open MPI"),
    ("MPI_LOCALNRANKS", "MPICH"),
    ("PMI_SIZE", "MPICH"),
    ("MV2_COMM_WORLD_SIZE", "MVAPICH"),
    ("SLURM_STEP_NUM_TASKS", "Slurm (srun)"),
)


def world_size_mismatch(environ: Mapping[str, str]) -> UsageError | None:
    """Return the error when a launcher announced more ranks than the MPI world has.

    environ: the process's environment. That happens when mpirun is of another MPI than the
    library mpi4py was built for: every process then is alone in a world of its own.
    """
    size = world_size()
    for name, launcher in _ANNOUNCED:
        text = environ.get(name, "")
        announced = int(text) if text.isascii() and text.isdecimal() else 0
        if announced > size:
            return UsageError(
                f"the launcher of {launcher} announced {announced} ranks ({name}), but mpi4py "
                f"uses {library()} and sees {size}: start with the mpirun of that MPI, or "
                "install mpi4py for the other"
            )
    return None


def end_process(error: BaseException, rank: int) -> int:
    """Report an error that ends this rank; return the exit code, or abort all ranks.

    An error that every rank raises (attribute `everywhere`) is printed by rank 0 only, and
    each rank may return. Any other would leave the rest waiting: all ranks are aborted.
    """
    code = error.exit_code if isinstance(error, MorsrError) else EXIT_INTERNAL
    everywhere = bool(getattr(error, "everywhere", False))
    if rank == 0 or not everywhere:
        where = "" if everywhere else f"rank {rank}: "
        kind = "" if isinstance(error, MorsrError) else f"{type(error).__name__}: "
        print(f"morsr: {where}{kind}{error}", file=sys.stderr, flush=True)
    if not everywhere and world_size() > 1:
        MPI.COMM_WORLD.Abort(code)
    return code


def abort_on_exception() -> None:
    """Make an uncaught exception of this rank end all ranks instead of leaving them waiting."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, MorsrError):
            with contextlib.suppress(Exception):
                previous(kind, error, trace)
        code = end_process(error, world_rank())
        MPI.COMM_WORLD.Abort(code)

    sys.excepthook = hook
