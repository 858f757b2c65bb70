"""MPI transport: exchange rounds by Iallgather, frames over point-to-point.

The only module that imports mpi4py, and importing it initialises MPI. It works on a
communicator of its own, so nothing else in the process can take its messages.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from mpi4py import MPI

from morsr_mpi.adapters.memory import check_frame, check_slot
from morsr_mpi.base.config import (
    MAX_FRAMES_PER_POLL,
    MAX_PENDING_BULK_BYTES,
    MAX_PENDING_SENDS,
    MAX_UNSENT_BYTES,
    SLOT_BYTES,
)
from morsr_mpi.base.errors import EXIT_INTERNAL, InternalError, MorsrError, UsageError

#: Urgent frames have a tag of their own, so that they are not matched behind large ones.
_URGENT = 1
_ORDINARY = 2
#: Open MPI looks at part of its network layers in every eighth call only. A rank that sleeps
#: between single tests would need eight sleeps to see what has long arrived.
_TESTS = 9


#: Transports that are not closed in order. A collective that was given up stays pending, and MPI
#: writes into its buffers when the last rank enters it: they must live as long as the process.
_OPEN: list[MpiTransport] = []


@dataclass(frozen=True, slots=True)
class _Send:
    """A frame with MPI. bulk: what it counts towards MAX_PENDING_BULK_BYTES."""

    request: MPI.Request
    dest: int
    frame: bytes
    bulk: int


@dataclass(frozen=True, slots=True)
class _Receive:
    """A frame that has been announced and is coming in. way: source and tag."""

    way: tuple[int, int]
    request: MPI.Request
    frame: bytearray


class MpiTransport:
    """Transport port over one communicator."""

    def __init__(
        self,
        comm: MPI.Intracomm | None = None,
        slot_bytes: int = SLOT_BYTES,
        *,
        own: bool = False,
    ) -> None:
        """comm: whose ranks take part, default all; it is duplicated, so all must call, unless it
        is the transport's own already."""
        self._slot_bytes = slot_bytes
        self._comm = comm if own and comm is not None else (comm or MPI.COMM_WORLD).Dup()
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()
        self._out = bytearray(slot_bytes)
        self._in = bytearray(slot_bytes * self.size)
        self._round: MPI.Request | None = None
        self._leaving: MPI.Request | None = None
        self._left = False
        self._sending: deque[_Send] = deque()
        self._urgent: deque[tuple[int, bytes]] = deque()
        self._ordinary: dict[int, deque[bytes]] = {}
        self._bulk = [0] * self.size
        self._receiving: deque[_Receive] = deque()
        self._unsent = 0
        self._status = MPI.Status()
        _OPEN.append(self)

    def start_round(self, slot: bytes) -> None:
        """Start the collective."""
        size = self._slot_bytes
        check_slot(slot, self._round is not None, size)
        self._out[:] = slot
        self._round = self._comm.Iallgather((self._out, size, MPI.BYTE), (self._in, size, MPI.BYTE))

    def poll_round(self) -> list[bytes] | None:
        """Test the collective."""
        if self._round is None or not _complete(self._round):
            return None
        self._round = None
        found = bytes(self._in)
        size = self._slot_bytes
        return [found[i : i + size] for i in range(0, len(found), size)]

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Start to send; the others wait here.

        At most `MAX_PENDING_SENDS` are with MPI, and to one rank `MAX_PENDING_BULK_BYTES` of
        ordinary ones: what MPI has, an urgent frame cannot overtake on the network.
        """
        check_frame(frame, dest, self.rank, self.size)
        if self._unsent + len(frame) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        self._unsent += len(frame)
        if urgent:
            self._urgent.append((dest, frame))
        else:
            self._ordinary.setdefault(dest, deque()).append(frame)
        self._push()

    @property
    def unsent_bytes(self) -> int:
        """Bytes of frames that are not with MPI yet."""
        return self._unsent

    def poll(self) -> list[tuple[int, bytes]]:
        """Receive what is there, and go on sending.

        Receives do not block: a large frame moves only while its sender looks at the network.
        """
        if self._sending or self._urgent or self._ordinary:
            self._push()
        while len(self._receiving) < MAX_FRAMES_PER_POLL:
            message = self._next_message()
            if message is None:
                break
            status = self._status
            way, length = (status.Get_source(), status.Get_tag()), status.Get_count(MPI.BYTE)
            frame = bytearray(length)
            self._receiving.append(_Receive(way, message.Irecv((frame, length, MPI.BYTE)), frame))
        found: list[tuple[int, bytes]] = []
        late: set[tuple[int, int]] = set()  # what follows the same way has to wait for its turn
        still: deque[_Receive] = deque()
        for item in self._receiving:
            if item.way in late or not item.request.Test():
                late.add(item.way)
                still.append(item)
            else:
                found.append((item.way[0], bytes(item.frame)))
        self._receiving = still
        return found

    @property
    def under_way(self) -> bool:
        """Whether frames are being sent or received."""
        return bool(self._sending or self._urgent or self._ordinary or self._receiving)

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
        if self._left and not self._sending and not self._receiving and self._round is None:
            self._comm.Free()
            _OPEN.remove(self)

    def _next_message(self) -> MPI.Message | None:
        """Return the next frame that has been announced; None when there is none."""
        # While a round is pending its tests keep the network going; each call may yield the core.
        for _ in range(_TESTS // 2 + 1 if self._round is None else 1):
            for tag in (_URGENT, _ORDINARY):
                message = self._comm.Improbe(MPI.ANY_SOURCE, tag, self._status)
                if message is not None:
                    return message
        return None

    def _push(self) -> None:
        """Complete sends in any order; start urgent ones, then the others, in their order."""
        if self._sending:
            still: deque[_Send] = deque()
            for item in self._sending:
                if item.request.Test():
                    self._bulk[item.dest] -= item.bulk
                else:
                    still.append(item)
            self._sending = still
        while self._urgent and len(self._sending) < MAX_PENDING_SENDS:
            dest, frame = self._urgent.popleft()
            self._start(dest, frame, _URGENT)
        for dest in list(self._ordinary):
            queue = self._ordinary[dest]
            while queue and len(self._sending) < MAX_PENDING_SENDS:
                if self._bulk[dest] and self._bulk[dest] + len(queue[0]) > MAX_PENDING_BULK_BYTES:
                    break
                self._start(dest, queue.popleft(), _ORDINARY)
            if not queue:
                del self._ordinary[dest]

    def _start(self, dest: int, frame: bytes, tag: int) -> None:
        """Give one frame to MPI."""
        self._unsent -= len(frame)
        bulk = len(frame) if tag == _ORDINARY else 0
        self._bulk[dest] += bulk
        request = self._comm.Isend((frame, len(frame), MPI.BYTE), dest, tag)
        self._sending.append(_Send(request, dest, frame, bulk))


def _complete(request: MPI.Request) -> bool:
    """Test often enough that every part of the MPI library had its turn (`_TESTS`)."""
    return any(request.Test() for _ in range(_TESTS))


def duplicates(comm: MPI.Intracomm, count: int) -> list[MPI.Intracomm]:
    """Return communicators of the same ranks, all of which must call."""
    return [comm.Dup() for _ in range(count)]


def communicator(ranks: Sequence[int] | None = None) -> MPI.Intracomm:
    """Return MPI's world, or a new communicator of some of its ranks, which alone must call."""
    if ranks is None:
        return MPI.COMM_WORLD
    group = MPI.COMM_WORLD.Get_group().Incl(list(ranks))
    return MPI.COMM_WORLD.Create_group(group)


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
