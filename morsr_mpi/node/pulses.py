"""Pulses between plan and commit: their tasks, orders and results (DESIGN section 3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from struct import pack

from morsr_mpi.base.config import MAX_RESULT_BYTES, MAX_TASKS_PER_PULSE
from morsr_mpi.base.digest import sha256, short
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.base.ports import SearchMachine, TaskLike
from morsr_mpi.provenance.bodies import Pulse
from morsr_mpi.wire.messages import Order

#: Rank of a task whose order has not come yet.
_NOBODY = -1


class PlansDifferError(InternalError):
    """The coordinator planned other tasks than this rank."""


class DisputeError(InternalError):
    """Two ranks gave different results for one task. claims: digest of each, by rank."""

    def __init__(self, text: str, claims: dict[int, bytes]) -> None:
        super().__init__(text)
        self.claims = claims


class OpenPulse:
    """One pulse in flight. predicted: who will probably be ordered to compute each task.

    ranks: who was ordered first; givers: whose result was the first here.
    """

    def __init__(self, number: int, tasks: Sequence[TaskLike], predicted: list[int]) -> None:
        if len(tasks) > MAX_TASKS_PER_PULSE:
            raise InternalError(f"pulse {number} has {len(tasks)} tasks, too many")
        self.number = number
        self.tasks = tuple(tasks)
        self.tasks_digest = sha256(b"".join(task.task_id for task in self.tasks))
        self.predicted = predicted
        self.ranks = [_NOBODY] * len(self.tasks)
        self.givers = [_NOBODY] * len(self.tasks)
        self.stop = ""
        self.view = 0
        self._unordered = len(self.tasks)
        self._results: list[bytes | None] = [None] * len(self.tasks)
        self._missing = len(self.tasks)
        self._settled: set[int] = set()

    @property
    def ordered(self) -> bool:
        """Whether all parts of its order are here."""
        return self._unordered == 0

    @property
    def complete(self) -> bool:
        """Whether every task has its result."""
        return self._missing == 0

    def obey(self, order: Order, coordinator: int) -> bool:
        """Take in one part of the order; True when it completed the order.

        Raises PlansDifferError, and InternalError when two orders contradict each other.
        """
        if order.tasks != self.tasks_digest or order.total != len(self.tasks):
            raise PlansDifferError(
                f"pulse {self.number}: the coordinator, rank {coordinator}, ordered "
                f"{order.total} tasks {short(order.tasks)}, this rank planned "
                f"{len(self.tasks)} tasks {short(self.tasks_digest)}"
            )
        if order.view < self.view:
            return False  # parts of a later one are here
        if order.view > self.view:
            self._forget_order(order.view)
        was = self._unordered
        for index, rank in enumerate(order.ranks, order.first):
            if self.ranks[index] == _NOBODY:
                self.ranks[index] = rank
                self._unordered -= 1
            elif self.ranks[index] != rank:
                raise InternalError(
                    f"pulse {self.number}: rank {coordinator} ordered task {index} twice"
                )
        if self._unordered < was:
            self.stop = self.stop or order.stop
            self.view = order.view
        return was > 0 and self._unordered == 0

    def _forget_order(self, view: int) -> None:
        """A later coordinator orders anew; results that are here stand."""
        self.view = view
        self.stop = ""
        self.ranks = [_NOBODY] * len(self.tasks)
        self._unordered = len(self.tasks)

    def mine(self, ranks: list[int], rank: int) -> list[int]:
        """Indices of the tasks of one rank under an assignment."""
        return [index for index, who in enumerate(ranks) if who == rank]

    def accept(self, index: int, result: bytes, sender: int) -> bool:
        """Take in a result; False when there is one already: the first counts.

        Whoever computes a task finds the same bytes, so it does not matter who was ordered to.
        Raises ProtocolError for an index that does not exist or an oversized result, DisputeError
        for a result that differs from the one that is here.
        """
        if not 0 <= index < len(self.tasks) or len(result) > MAX_RESULT_BYTES:
            raise ProtocolError(
                f"rank {sender} sent an impossible result for task {index} of pulse {self.number}"
            )
        known = self._results[index]
        if index in self._settled:
            return False
        if known is not None:
            if known != result:
                self._dispute(index, sender, sha256(result))
            return False
        self._results[index] = result
        self.givers[index] = sender
        self._missing -= 1
        return True

    def compare(self, index: int, sender: int, name: bytes) -> None:
        """Raise DisputeError when a result that is here has another digest than a rank's."""
        known = self._results[index]
        if known is not None and index not in self._settled and sha256(known) != name:
            self._dispute(index, sender, name)

    def _dispute(self, index: int, sender: int, name: bytes) -> None:
        known, giver = self._results[index], self.givers[index]
        assert known is not None
        found = sha256(known)
        raise DisputeError(
            f"ranks {giver} and {sender} gave different results for task {index} of pulse "
            f"{self.number}: {short(found)} and {short(name)}; one of them computes wrongly",
            {giver: found, sender: name},
        )

    def has(self, index: int) -> bool:
        """Whether the result of a task is here."""
        return self._results[index] is not None

    def finished(self, giver: int) -> dict[bytes, bytes]:
        """Return the results that one rank gave and that are here, by task id."""
        return {
            task.task_id: result
            for index, (task, result) in enumerate(zip(self.tasks, self._results, strict=True))
            if result is not None and index not in self._settled and self.givers[index] == giver
        }

    def peek(self, index: int) -> bytes | None:
        """The result of a task, None while it is missing."""
        return self._results[index]

    def result(self, index: int) -> bytes:
        """The result of a task. Raises InternalError when it is missing."""
        found = self._results[index]
        if found is None:
            raise InternalError(f"task {index} of pulse {self.number} has no result")
        return found

    def settle(self, index: int) -> None:
        """Note that a task is committed or given up: it needs nothing any more (free mode)."""
        if self._results[index] is None:
            self._results[index] = b""
            self._missing -= 1
        self._settled.add(index)

    def is_settled(self, index: int) -> bool:
        """Whether a task is committed or given up."""
        return index in self._settled

    @property
    def closed(self) -> bool:
        """Whether every task is settled."""
        return len(self._settled) == len(self.tasks)

    def taken(self) -> tuple[tuple[bytes, int, bytes], ...]:
        """Task id, rank whose result it is here, and the result of each task."""
        ids = (task.task_id for task in self.tasks)
        return tuple(zip(ids, self.givers, self.results(), strict=True))

    def results(self) -> list[bytes]:
        """All results in the order of the tasks. Raises InternalError when one is missing."""
        found = [result for result in self._results if result is not None]
        if len(found) != len(self.tasks):
            raise InternalError(f"pulse {self.number} is not complete")
        return found


class PulseBook:
    """The pulses in flight of one rank, and the search they belong to."""

    def __init__(self, search: SearchMachine, lag: int) -> None:
        self.search = search
        self.lag = lag
        self.open: deque[OpenPulse] = deque()
        self.stopped = ""
        self._started = False

    @property
    def committed(self) -> int:
        """Pulses committed so far."""
        return self.search.committed

    def plan(self) -> list[tuple[int, Sequence[TaskLike]]]:
        """Plan as far ahead as the lag allows; a restored state's own pulses come first.

        Each pulse returned must be opened with `begin` before anything else.
        """
        planned: list[tuple[int, Sequence[TaskLike]]] = []
        if not self._started:
            self._started = True
            planned.extend(self.search.in_flight())
        while (expected := self.search.planned) <= self.committed + self.lag:
            number, tasks = self.search.plan()
            if not tasks:
                break
            if number != expected:
                raise InternalError(f"the search planned pulse {number}, {expected} was next")
            planned.append((number, tasks))
        return planned

    def begin(self, pulse: OpenPulse) -> None:
        """Add a planned pulse."""
        self.open.append(pulse)

    def find(self, number: int) -> OpenPulse | None:
        """Return an open pulse by number; None when it is committed or not planned yet."""
        if not self.open:
            return None
        position = number - self.open[0].number
        if 0 <= position < len(self.open) and self.open[position].number == number:
            return self.open[position]
        # In free mode a pulse can be closed before an older one.
        return next((pulse for pulse in self.open if pulse.number == number), None)

    def over(self, number: int) -> bool:
        """Whether a pulse has been planned and is closed."""
        return number < self.search.planned and self.find(number) is None

    def forget_closed(self) -> None:
        """Drop pulses of which every task is settled."""
        self.open = deque(pulse for pulse in self.open if not pulse.closed)

    @property
    def ready(self) -> bool:
        """Whether the oldest pulse can be committed."""
        return bool(self.open) and not self.open[0].stop and self.open[0].complete

    @property
    def drained(self) -> bool:
        """Whether nothing is left to commit."""
        return not self.open or bool(self.stop)

    @property
    def stop(self) -> str:
        """Why nothing more is committed; "" to go on."""
        return self.stopped or (self.open[0].stop if self.open else "")

    def commit(self) -> Pulse:
        """Commit the oldest pulse and return the body of its record."""
        pulse = self.open[0]
        results = pulse.results()
        self.search.commit(pulse.number, results)
        self.open.popleft()
        if self.search.committed != pulse.number + 1:
            raise InternalError(f"the search did not count pulse {pulse.number}")
        return Pulse(
            view=pulse.view,
            pulse=pulse.number,
            tasks=pulse.tasks_digest,
            results=b"".join(map(sha256, results)),
            contributors=pack(f">{len(pulse.givers)}H", *pulse.givers),
            state=self.search.state_digest(),
        )
