"""This rank's part in the pulses: what it begins, what it is ordered, what others deliver.

Without a lag tasks are begun on a prediction of the order as soon as a pulse is planned, so that
no rank waits for the order's round trip; when the order says otherwise, it is obeyed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from morsr_mpi.base.config import MAX_PULSE_SKEW
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import HostFaultError, ProtocolError
from morsr_mpi.node.claims import ClaimBook
from morsr_mpi.node.effects import Cancel, Effect, Execute, Yield
from morsr_mpi.node.events import TaskDone
from morsr_mpi.node.fetch import FetchBook, Fetched
from morsr_mpi.node.free import FreeBook, Key
from morsr_mpi.node.held import Held, PulseMessage
from morsr_mpi.node.orders import ChamberScheduler
from morsr_mpi.node.pulses import DisputeError, OpenPulse, PlansDifferError, PulseBook
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.wire.messages import Announcement, Order, Results
from morsr_mpi.wire.steering import Heartbeat, Reassignment

#: Told of a refused message: its sender, and why.
Refuse = Callable[[int, ProtocolError | PlansDifferError], None]


class PulseWork:
    """Between plan and commit, for one rank."""

    def __init__(
        self,
        settings: NodeSettings,
        pulses: PulseBook,
        scheduler: ChamberScheduler,
        refuse: Refuse,
        fetch: FetchBook,
        claims: ClaimBook,
        free: FreeBook | None = None,
    ) -> None:
        """free: told of results, in free mode; claims: checks those of others."""
        self._claims = claims
        self.view = 0
        self._free = free
        self._settings = settings
        self._pulses = pulses
        self._scheduler = scheduler
        self._fetch = fetch
        self._refuse = refuse
        self._held = Held(settings.rank, settings.lag)
        self._begun: dict[tuple[int, int], OpenPulse] = {}
        self._effects: list[Effect] = []
        self._latest = -1

    def effects(self) -> list[Effect]:
        """Return what is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def coordinating(self) -> bool:
        """Whether this rank is the coordinator of the current view."""
        return self._settings.rank == self._settings.coordinator(self.view)

    def check_coordinator(self, sender: int, view: int) -> None:
        """Raise ProtocolError for what only the coordinator of the view may say.

        What a former one said in its view is no fault: it came late.
        """
        if view > self.view or sender != self._settings.coordinator(view):
            raise ProtocolError(f"rank {sender} speaks as coordinator and is none")

    def plan(self) -> None:
        """Plan as far as the lag allows, and begin what will probably be ours."""
        settled = self._free.settled() if self._free is not None else {}
        for number, tasks in self._pulses.plan():
            predicted = self._scheduler.predict(tasks, self.coordinating)
            pulse = OpenPulse(number, tasks, predicted)
            self._pulses.begin(pulse)
            self._claims.planned(number, tasks)
            for index in settled.get(number, ()):
                pulse.settle(index)
            # With a lag there is other work until the order comes, and it depends on what the
            # coordinator knows of backlogs.
            if self.coordinating or not self._settings.lag:
                for index in pulse.mine(pulse.predicted, self._settings.rank):
                    if not pulse.has(index):
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

    def waits_for_order(self, slowest: int) -> bool:
        """Whether the coordinator could order the oldest pulse, and has not."""
        open_ = self._pulses.open
        reach = slowest + self._settings.lag + MAX_PULSE_SKEW
        return bool(open_) and not open_[0].ordered and open_[0].number <= reach

    def change_view(self, view: int) -> list[Order]:
        """Follow the coordinator of a view; as such, return the orders to be said again."""
        self.view = view
        if not self.coordinating:
            return []
        orders: list[Order] = []
        for pulse in self._pulses.open:
            if pulse.ordered:
                orders += self._scheduler.repeat(pulse, view)
            else:
                self._scheduler.add(pulse)
        for order in orders:
            found = self._pulses.find(order.pulse)
            if found is not None:
                self._obey(found, order)
        return orders

    def take(self, sender: int, message: PulseMessage) -> None:
        """Take in what concerns a pulse, or keep it until the pulse is planned and ordered.

        Raises ProtocolError for what makes no sense from this sender.
        """
        number = message.pulse
        if self._pulses.over(number):
            return
        pulse = self._pulses.find(number)
        if pulse is None or not (pulse.ordered or isinstance(message, Order)):
            self._held.keep(sender, message, self._pulses.committed)
            return
        match message:
            case Order():
                self.check_coordinator(sender, message.view)
                # One that a former coordinator gave stands until the present one gives another,
                # and for pulses that the others have committed it gives none. Stops are its own.
                if message.view == self.view or not (pulse.ordered or message.stop):
                    self._obey(pulse, message)
            case Reassignment():
                self.check_coordinator(sender, message.view)
                if message.view == pulse.view:  # it changes the order that stands here
                    self._reassigned(pulse, message)
            case Results():
                if sender != self._settings.rank:
                    self._latest = max(self._latest, number)
                for index, result in zip(message.indices, message.results, strict=True):
                    self._accept(pulse, index, result, sender)
            case Announcement():
                self._announced(pulse, sender, message)

    @property
    def left(self) -> tuple[int, int | None, int]:
        """The oldest pulse in flight; the least pulse with a task begun here, None without any;
        the latest that another rank gave a result of."""
        oldest = self._pulses.committed
        least = next(iter(self._begun), (None,))[0]
        if least is not None and least > oldest:  # tasks moved here may be older
            least = min(key[0] for key in self._begun)
        return oldest, least, self._latest

    def heard(self, sender: int, now: float) -> None:
        """Note when a rank spoke: what it has finished since then is not known here."""
        self._scheduler.heard(sender, now)

    def hear(self, sender: int, beat: Heartbeat) -> None:
        """Take in what a rank says of its progress."""
        self._scheduler.hear(sender, beat)

    @property
    def progress(self) -> list[tuple[int, int]]:
        """Work units and busy milliseconds of each rank, as it last said."""
        return self._scheduler.progress

    def rebalance(self, now: float, silent: Collection[int]) -> list[Reassignment]:
        """As coordinator: move tasks from ranks that are late; returns what to broadcast."""
        if not self.coordinating or self._settings.size == 1:
            return []
        self._scheduler.heard(self._settings.rank, now)
        moved = self._scheduler.rebalance(now, self.view, silent)
        for message in moved:
            pulse = self._pulses.find(message.pulse)
            if pulse is not None:
                self._reassigned(pulse, message)
        return moved

    def idle(self, silent: Collection[int]) -> bool:
        """As coordinator: whether a rank that is heard of has nothing to compute."""
        return self._settings.size > 1 and self._scheduler.idle(silent)

    def give_up(self, keys: Iterable[Key]) -> None:
        """Compute nothing more of tasks that nobody needs."""
        for key in keys:
            self._scheduler.finished(*key)
            if self._begun.pop(key, None) is not None:
                self._effects.append(Cancel(*key))

    def fetched(self, results: Iterable[Fetched]) -> None:
        """Take in results that were announced and are here now."""
        for (number, index, sender), result in results:
            pulse = self._pulses.find(number)
            if pulse is not None:
                self._accept(pulse, index, result, sender)

    def done(self, event: TaskDone) -> bool:
        """Take in a result of our own; False when it is not wanted any more."""
        self._begun.pop((event.pulse, event.index), None)
        pulse = self._pulses.find(event.pulse)
        if pulse is None:
            return False
        if pulse.ordered:
            return self._accept(pulse, event.index, event.result, self._settings.rank)
        # Begun on a prediction: it counts when the order is here.
        result = Results(event.pulse, (event.index,), (event.result,))
        self._held.keep(self._settings.rank, result, self._pulses.committed)
        return True

    def _accept(self, pulse: OpenPulse, index: int, result: bytes, sender: int) -> bool:
        """Take in a result; the first of a task counts, and nobody needs to go on with it.

        Raises DisputeError where ranks differ and nobody could find out who is right.
        """
        key, own = (pulse.number, index), sender == self._settings.rank
        known = 0 <= index < len(pulse.tasks)
        if known and not self._claims.sound(pulse.tasks[index], result):
            if own:
                raise HostFaultError(
                    f"task {index} of pulse {pulse.number} has an impossible result: this host "
                    "computes wrongly"
                )
            self._claims.dispute(key, {sender: sha256(result)})
            return False
        try:
            if not pulse.accept(index, result, sender):
                return False
        except DisputeError as found:
            self._disputed(key, found)
            return False
        self._claims.accepted(key, pulse.tasks[index], result, sender)
        self._scheduler.finished(pulse.number, index)
        if self._free is not None:
            self._free.arrived(pulse.number, index)
        if self._begun.pop((pulse.number, index), None) is not None:
            self._effects.append(Cancel(pulse.number, index))
        return True

    def _disputed(self, key: tuple[int, int], found: DisputeError) -> None:
        if not self._claims.able:
            raise found
        self._claims.dispute(key, found.claims)

    def _announced(self, pulse: OpenPulse, sender: int, message: Announcement) -> None:
        for index, name, size in message.items:
            if index >= len(pulse.tasks):
                raise ProtocolError(f"rank {sender} announced a task that is none")
            if pulse.has(index):
                try:
                    pulse.compare(index, sender, name)
                except DisputeError as error:
                    self._disputed((pulse.number, index), error)
            else:
                found = self._fetch.want((pulse.number, index, sender), name, size)
                self.fetched([found] if found else [])

    def _reassigned(self, pulse: OpenPulse, message: Reassignment) -> None:
        """Begin what was moved here, and leave to others what was moved away."""
        if max(message.indices) >= len(pulse.tasks) or pulse.stop:
            raise ProtocolError(f"tasks of pulse {pulse.number} were moved that are none")
        for index, rank in zip(message.indices, message.ranks, strict=True):
            key = (pulse.number, index)
            if rank == self._settings.rank:
                if not pulse.has(index) and key not in self._begun:
                    self._begin(pulse, index)
            elif self._begun.pop(key, None) is not None:
                self._effects.append(Yield(*key))

    def _begin(self, pulse: OpenPulse, index: int) -> None:
        self._begun[pulse.number, index] = pulse
        self._effects.append(Execute(pulse.number, index, pulse.tasks[index]))

    def _obey(self, pulse: OpenPulse, order: Order) -> None:
        """Take in an order; when it is complete, correct what was begun on a prediction."""
        if not order.first:
            self._scheduler.adopt(order)
        if not pulse.obey(order, self._settings.coordinator(order.view)):
            return
        rank = self._settings.rank
        mine = set() if pulse.stop else set(pulse.mine(pulse.ranks, rank))
        for number, index in [key for key in self._begun if key[0] == pulse.number]:
            if index not in mine:
                del self._begun[number, index]
                self._effects.append(Cancel(number, index))
        self._unhold(pulse.number)
        for index in sorted(mine):
            if (pulse.number, index) not in self._begun and not pulse.has(index):
                self._begin(pulse, index)

    def _unhold(self, number: int) -> None:
        """Take in what was kept for a pulse, as far as it can be used now."""
        for sender, message in self._held.take(number):
            try:
                self.take(sender, message)
            except (ProtocolError, PlansDifferError) as error:
                self._refuse(sender, error)
