"""Free asynchrony (paper, algorithm 4.2): commits of whatever is finished, in recorded order.

A step takes in any open tasks whose results are here, in the order in which the coordinator got
them; what is left of pulses that are more than the lag behind is given up. The coordinator
proposes a step when its oldest pulse is complete, or when a rank has nothing to do. Which
results are in which step depends on time; the journal records it, and from those lists the
same bits follow again.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import cast

from morsr_mpi.base.digest import sha256, short
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ports import FreeSearchMachine, TaskLike
from morsr_mpi.node.pulses import OpenPulse, PulseBook
from morsr_mpi.node.records import Heard
from morsr_mpi.provenance.steps import Step, pack_tasks
from morsr_mpi.wire.steering import Entry, Proposal, proposals

#: A task in flight: (pulse, index).
Key = tuple[int, int]
#: A step that was committed: the body of its record, the tasks given up, and the tasks taken in,
#: each with the pulse that planned it.
Taken = tuple[Step, list[Key], list[tuple[int, TaskLike]]]


class FreeBook:
    """Results that are here and not committed, and the steps that take them in."""

    def __init__(self, pulses: PulseBook) -> None:
        self._pulses = pulses
        self._arrived: dict[Key, None] = {}

    def arrived(self, pulse: int, index: int) -> None:
        """Note that a result is here."""
        self._arrived[pulse, index] = None

    def settled(self) -> dict[int, list[int]]:
        """Tasks in flight that are committed, by pulse: a restored state has some."""
        found: dict[int, list[int]] = {}
        for pulse, index in cast(FreeSearchMachine, self._pulses.search).settled():
            found.setdefault(pulse, []).append(index)
        return found

    def lead(
        self, view: int, state: bytes, stop: str, idle: bool
    ) -> tuple[Taken | None, list[Proposal]]:
        """As coordinator: commit a step if one is due, and return what to tell the others.

        state: digest of S now; stop: why to end the run before this step, "" to go on; idle:
        whether a rank has nothing to do.
        """
        number = self._pulses.committed
        if stop:
            self._pulses.stopped = stop
            return None, [Proposal(view, number, 0, 1, (), state, stop)]
        if not self._arrived or not (idle or self._oldest_complete()):
            return None, []
        entries = [(p, i, self._open(p).givers[i]) for p, i in self._arrived]
        taken = self._commit(entries, view)
        return taken, proposals(view, number, entries, taken[0].state)

    def follow(self, heard: Heard | None) -> Taken | None:
        """Commit the step the coordinator told, once every result of it is here.

        Raises InternalError when it names a task that is not open here, or another state.
        """
        if heard is None:
            return None
        self._pulses.stopped = heard.first.stop
        entries = heard.entries
        if heard.first.stop or not all(self._open(p).has(i) for p, i, _ in entries):
            return None
        taken = self._commit(entries, heard.first.view)
        body = taken[0]
        if body.state != heard.first.state:
            raise InternalError(
                f"after step {body.pulse} the coordinator is in state {short(heard.first.state)}, "
                f"this rank in {short(body.state)}: one of them computes wrongly"
            )
        return taken

    def _commit(self, entries: Sequence[Entry], view: int) -> Taken:
        """Take in a step."""
        search = cast(FreeSearchMachine, self._pulses.search)
        step = search.committed
        keys = [(pulse, index) for pulse, index, _ in entries]
        tasks = [(pulse, self._open(pulse).tasks[index]) for pulse, index in keys]
        results = [self._open(pulse).result(index) for pulse, index in keys]
        dropped = search.commit_free(step, keys, results)
        for pulse, index in (*keys, *dropped):
            self._arrived.pop((pulse, index), None)
            self._open(pulse).settle(index)
        self._pulses.forget_closed()
        ranks = [rank for _, _, rank in entries]
        body = Step(
            view=view,
            pulse=step,
            picks=pack_tasks(keys),
            tasks=sha256(b"".join(task.task_id for _, task in tasks)),
            results=b"".join(map(sha256, results)),
            contributors=pack(f">{len(ranks)}H", *ranks),
            dropped=pack_tasks(dropped),
            state=search.state_digest(),
        )
        return body, list(dropped), tasks

    def _oldest_complete(self) -> bool:
        return bool(self._pulses.open) and self._pulses.open[0].complete

    def _open(self, number: int) -> OpenPulse:
        pulse = self._pulses.find(number)
        if pulse is None:
            raise InternalError(
                f"the coordinator committed tasks of pulse {number}: it is not open"
            )
        return pulse
