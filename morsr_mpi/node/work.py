"""This rank's part in the pulses: what it begins, what it is ordered, what others deliver.

Tasks are begun on a prediction of the order as soon as a pulse is planned, so that no rank
waits for the order's round trip; when the order says otherwise, it is obeyed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.node.effects import Cancel, Effect, Execute
from morsr_mpi.node.events import TaskDone
from morsr_mpi.node.fetch import FetchBook, Fetched
from morsr_mpi.node.held import Held, PulseMessage
from morsr_mpi.node.orders import ChamberScheduler
from morsr_mpi.node.pulses import OpenPulse, PulseBook
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.wire.messages import Announcement, Order, Results

#: Told of a refused message: its sender, and why.
Refuse = Callable[[int, ProtocolError], None]


class PulseWork:
    """Between plan and commit, for one rank."""

    def __init__(
        self,
        settings: NodeSettings,
        pulses: PulseBook,
        scheduler: ChamberScheduler,
        fetch: FetchBook,
        refuse: Refuse,
    ) -> None:
        self.view = 0
        self._settings = settings
        self._pulses = pulses
        self._scheduler = scheduler
        self._fetch = fetch
        self._refuse = refuse
        self._held = Held(settings.rank, settings.lag)
        self._begun: dict[tuple[int, int], OpenPulse] = {}
        self._effects: list[Effect] = []

    def effects(self) -> list[Effect]:
        """Return what is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def coordinating(self) -> bool:
        """Whether this rank is the coordinator of the current view."""
        return self._settings.rank == self._settings.coordinator(self.view)

    def plan(self) -> None:
        """Plan as far as the lag allows, and begin what will probably be ours."""
        for number, tasks in self._pulses.plan():
            pulse = OpenPulse(number, tasks, self._scheduler.predict(tasks))
            self._pulses.begin(pulse)
            for index in pulse.mine(pulse.predicted, self._settings.rank):
                self._begin(pulse, index)
            if self.coordinating:
                self._scheduler.add(pulse)
            self._unhold(number)

    def order(self, slowest: int, reason: str) -> list[Order]:
        """As coordinator: say who computes what, and obey; returns the orders to broadcast.

        slowest: fewest pulses any rank has committed; reason: why to stop, "" to go on.
        """
        issued = self._scheduler.issue(slowest, self.view, reason) if self.coordinating else []
        for pulse, order in issued:
            self._obey(pulse, order)
        return [order for _, order in issued]

    def take(self, sender: int, message: PulseMessage) -> None:
        """Take in what concerns a pulse, or keep it until the pulse is planned and ordered.

        Raises ProtocolError for what makes no sense from this sender.
        """
        number = message.pulse
        if number < self._pulses.committed:
            return
        pulse = self._pulses.find(number)
        if pulse is None or not (pulse.ordered or isinstance(message, Order)):
            self._held.keep(sender, message, self._pulses.committed)
            return
        match message:
            case Order():
                if message.view != self.view or sender != self._settings.coordinator(self.view):
                    raise ProtocolError(f"rank {sender} gave an order and is no coordinator")
                self._obey(pulse, message)
            case Results():
                for index, result in zip(message.indices, message.results, strict=True):
                    pulse.accept(index, result, sender)
            case Announcement():
                self._announced(pulse, sender, message)

    def fetched(self, results: Iterable[Fetched]) -> None:
        """Take in results that were announced and are here now."""
        for (number, index, sender), result in results:
            pulse = self._pulses.find(number)
            if pulse is not None:
                pulse.accept(index, result, sender)

    def done(self, event: TaskDone) -> bool:
        """Take in a result of our own; False when it is not wanted any more."""
        pulse = self._begun.pop((event.pulse, event.index), None)
        if pulse is None or self._pulses.find(event.pulse) is not pulse:
            return False
        if pulse.ordered:
            pulse.accept(event.index, event.result, self._settings.rank)
        else:  # begun on a prediction: it counts when the order says so
            result = Results(event.pulse, (event.index,), (event.result,))
            self._held.keep(self._settings.rank, result, self._pulses.committed)
        return True

    def _announced(self, pulse: OpenPulse, sender: int, message: Announcement) -> None:
        for index, name, size in message.items:
            if index >= len(pulse.tasks):
                raise ProtocolError(f"rank {sender} announced a task that is none")
            if pulse.ranks[index] == sender and not pulse.has(index):
                found = self._fetch.want((pulse.number, index, sender), name, size)
                self.fetched([found] if found else [])

    def _begin(self, pulse: OpenPulse, index: int) -> None:
        self._begun[pulse.number, index] = pulse
        self._effects.append(Execute(pulse.number, index, pulse.tasks[index]))

    def _obey(self, pulse: OpenPulse, order: Order) -> None:
        """Take in an order; when it is complete, correct what was begun on a prediction."""
        if not pulse.obey(order, self._settings.coordinator(order.view)):
            return
        rank = self._settings.rank
        mine = set() if pulse.stop else set(pulse.mine(pulse.ranks, rank))
        for number, index in [key for key in self._begun if key[0] == pulse.number]:
            if index not in mine:
                del self._begun[number, index]
                self._effects.append(Cancel(number, index))
        self._unhold(pulse.number)
        for index in sorted(mine - set(pulse.mine(pulse.predicted, rank))):
            self._begin(pulse, index)

    def _unhold(self, number: int) -> None:
        """Take in what was kept for a pulse, as far as it can be used now."""
        for sender, message in self._held.take(number):
            try:
                self.take(sender, message)
            except ProtocolError as error:
                self._refuse(sender, error)
