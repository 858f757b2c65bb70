"""Checks of what others say they found: recheck, redundancy, disputes (DESIGN section 4).

A rank computes some of the others' tasks itself before it votes for their pulse: by a choice
that nobody else knows (`recheck`), and by one that all know (`redundancy`). What it finds to be
different, and what two ranks found different, it computes anew and accuses whoever signed
another result. So does every rank that hears of an accusation, before it votes on an exclusion.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from morsr_mpi.base.config import (
    DISPUTE_PATIENCE,
    DISPUTE_SECONDS,
    MAX_KEPT_RESULT_BYTES,
    MAX_PROOF_BYTES,
    MAX_SPECULATIVE_PULSES,
)
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import HostFaultError, InternalError
from morsr_mpi.base.ports import TaskLike
from morsr_mpi.node.effects import Recheck
from morsr_mpi.node.events import TaskDone
from morsr_mpi.node.inbox import Heard
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.node.wrong_result import (
    Claim,
    WrongResult,
    claims_of,
    messages_of,
    position_of,
)
from morsr_mpi.wire.frames import Frame
from morsr_mpi.wire.messages import Announcement, Results

#: Whether a result has the form of one for a task, and is right in what is checked quickly.
Sound = Callable[[TaskLike, bytes], bool]
#: Pulses after its own that a recheck waits for, beyond the lag: exploring goes first.
_BEHIND = 4
#: Pulses whose tasks are kept for disputes: certified ones too, since ranks are apart.
_KEPT_PULSES = 2 * MAX_SPECULATIVE_PULSES

Key = tuple[int, int]


@dataclass(slots=True)
class _Accused:
    """An accusation that nobody has followed yet. until: when this rank gives it up."""

    ranks: set[int]
    until: float


@dataclass
class Outcome:
    """effects: tasks to compute anew; accused: ranks with the evidence; lines for the log."""

    effects: list[Recheck] = field(default_factory=list)
    accused: list[tuple[int, WrongResult]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class ClaimBook:
    """One rank's checks. Pulses and tasks are named by (pulse, index)."""

    def __init__(
        self,
        settings: NodeSettings,
        signed: bool,
        sound: Sound | None = None,
        now: float = 0.0,
    ) -> None:
        """signed: whether frames prove who said what; without, and between two, no verdict is
        possible."""
        size = settings.size
        self.able = signed and size > 2 and not settings.free
        active = self.able and (settings.recheck > 0.0 or settings.redundancy > 1)
        self._active = active
        self._settings = settings
        self._sound = sound
        # So that somebody rechecks a claim with probability `recheck`, all others with 1.
        share = 1.0 - (1.0 - settings.recheck) ** (1.0 / max(1, size - 1))
        self._below = int(share * 2.0**64)
        self._now = self._differs_since = now
        self._tasks: OrderedDict[int, tuple[TaskLike, ...]] = OrderedDict()
        self._frames: OrderedDict[int, dict[int, list[Frame]]] = OrderedDict()
        self._frame_bytes = 0
        self._claims: dict[Key, dict[int, bytes]] = {}
        self._pending: dict[int, set[int]] = {}
        self._begun: dict[Key, float] = {}
        self._truth: OrderedDict[Key, bytes] = OrderedDict()
        self._accused: dict[Key, _Accused] = {}
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._at = 0
        self._states: OrderedDict[int, bytes] = OrderedDict()
        self._later: list[tuple[Key, set[int]]] = []
        self._patience: dict[Key, float] = {}
        self._out = Outcome()
        self.checked = 0
        #: Longest time from the wish to check something to its end: others take as long.
        self.longest = 0.0

    # --- what others may ask -------------------------------------------------------------
    def take(self) -> Outcome:
        """Return what is wanted since the last call."""
        out, self._out = self._out, Outcome()
        return out

    def settled(self, pulse: int) -> bool:
        """Whether nothing of a pulse is still to be checked here."""
        return not self._pending.get(pulse)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be checked."""
        return not self._pending

    def judge(self, proof: WrongResult, claim: Claim) -> bool | None:
        """Whether a claim is wrong; None until this rank knows itself.

        From another state than this rank's it is not: then the tasks are others, too.
        """
        pulse, index = proof.pulse, proof.index
        if claim.committed > self._at:
            return None
        if self._states.get(claim.committed) != claim.state:
            return False
        truth = self._truth.get((pulse, index))
        if truth is not None:
            return truth != claim.digest
        tasks = self._tasks.get(pulse, ())
        if index < len(tasks):
            self._recheck((pulse, index), urgent=True)
        return None

    def kept(self) -> dict[bytes, bytes]:
        """Results that this rank computed itself, by task id: for a state that goes back."""
        return dict(self._kept)

    # --- events --------------------------------------------------------------------------
    def tick(self, now: float) -> None:
        """Time passed: accusations that nobody follows are given up."""
        self._now = now
        for key, accused in list(self._accused.items()):
            if now >= accused.until:
                ranks = ", ".join(map(str, sorted(accused.ranks)))
                self._out.lines.append(
                    f"task {key[1]} of pulse {key[0]}: rank {ranks} found something else than "
                    "this rank, and the others do not object: this host may compute wrongly"
                )
                del self._accused[key]
                self._end(key)

    def differ(self, difference: str) -> None:
        """States differ, or "": raise InternalError when no verdict explains it in time."""
        if not difference:
            self._differs_since = self._now
        elif self._now - self._differs_since > 2.0 * DISPUTE_SECONDS:
            raise InternalError(difference)

    def reached(self, committed: int, state: bytes) -> None:
        """This rank has committed so many pulses; state: digest of S then."""
        self._at = committed
        self._states[committed] = state
        while len(self._states) > _KEPT_PULSES:
            self._states.popitem(last=False)
        later, self._later = self._later, []
        for key, liars in later:
            self._accuse_all(key, liars)

    def planned(self, pulse: int, tasks: Sequence[TaskLike]) -> None:
        """A pulse was planned here."""
        if not self.able:
            return
        self._tasks[pulse] = tuple(tasks)
        while len(self._tasks) > _KEPT_PULSES:
            self._tasks.popitem(last=False)
        while len(self._truth) > _KEPT_PULSES:
            self._truth.popitem(last=False)

    def heard(self, heard: Heard) -> None:
        """Keep the frame of a slot as a proof of what its sender claims in it."""
        if not self.able:
            return
        # Pulses alone: digests of all results would be work for nothing on every slot.
        named = (m.pulse for m in heard.messages if isinstance(m, Results | Announcement))
        for pulse in dict.fromkeys(named):
            frames = self._frames.setdefault(pulse, {}).setdefault(heard.sender, [])
            frames.append(heard.frame)
            self._frame_bytes += len(heard.frame.payload)
        while self._frame_bytes > MAX_PROOF_BYTES:
            self._forget_frames(next(iter(self._frames)))

    def certified(self, certified: int) -> None:
        """Pulses below a number are certified: proofs of those that are checked are not needed."""
        for pulse in [p for p in self._frames if p < certified and self.settled(p)]:
            self._forget_frames(pulse)

    def sound(self, task: TaskLike, result: bytes) -> bool:
        """Whether a result may be one of the task."""
        return self._sound is None or not self.able or self._sound(task, result)

    def accepted(self, key: Key, task: TaskLike, result: bytes, giver: int) -> None:
        """The first result of a task is here: check it if this rank is to."""
        if not self._active:
            return
        if giver == self._settings.rank:
            self._keep(task.task_id, result)
            return
        digest = sha256(result)
        if self.shares(task.task_id, giver) or self.draws(task.task_id, digest):
            self._claims.setdefault(key, {})[giver] = digest
            self._recheck(key, urgent=False)

    def dispute(self, key: Key, claims: dict[int, bytes]) -> None:
        """Ranks found different results, or one of no possible form: find out who is right."""
        known = self._claims.setdefault(key, {})
        new = {rank: digest for rank, digest in claims.items() if known.get(rank) != digest}
        if new:
            known.update(new)
            ranks = ", ".join(map(str, sorted(claims)))
            self._out.lines.append(f"result of task {key[1]} of pulse {key[0]}: rank {ranks}?")
            self._recheck(key, urgent=True)

    def done(self, task: TaskDone) -> None:
        """A task was computed anew. Raises HostFaultError if this rank itself was wrong."""
        key = (task.pulse, task.index)
        truth = self._truth[key] = sha256(task.result)
        if key[0] in self._tasks:
            self._keep(self._tasks[key[0]][key[1]].task_id, task.result)
        began = self._begun.pop(key, self._now)
        self.checked += 1
        self.longest = max(self.longest, self._now - began)
        liars = {rank for rank, digest in self._claims.pop(key, {}).items() if digest != truth}
        if self._settings.rank in liars:
            raise HostFaultError(
                f"task {key[1]} of pulse {key[0]} has another result when computed again: this "
                "host computes wrongly"
            )
        self._patience[key] = DISPUTE_SECONDS + DISPUTE_PATIENCE * (self._now - began)
        self._accuse_all(key, liars)

    # --- parts -----------------------------------------------------------------------------
    def shares(self, task_id: bytes, giver: int) -> bool:
        """Whether this rank is one of those who compute the task besides the giver."""
        size, copies = self._settings.size, self._settings.redundancy - 1
        if copies <= 0:
            return False
        first = int.from_bytes(task_id[:8], "big")
        others = [(first + i) % size for i in range(size) if (first + i) % size != giver]
        return self._settings.rank in others[:copies]

    def draws(self, task_id: bytes, digest: bytes) -> bool:
        """This rank's private choice: unpredictable for whoever does not know its secret."""
        if self._below == 0 or self._below >> 64:
            return bool(self._below)
        draw = hmac.digest(self._settings.secret, task_id + digest, "sha256")
        return int.from_bytes(draw[:8], "big") < self._below

    def _recheck(self, key: Key, *, urgent: bool) -> None:
        pulse, index = key
        self._pending.setdefault(pulse, set()).add(index)
        self._begun.setdefault(key, self._now)
        after = -1 if urgent else pulse + self._settings.lag + _BEHIND
        self._out.effects.append(Recheck(pulse, index, self._tasks[pulse][index], after))

    def _end(self, key: Key) -> None:
        pending = self._pending.get(key[0])
        if pending is not None:
            pending.discard(key[1])
            if not pending:
                del self._pending[key[0]]

    def _accuse_all(self, key: Key, liars: set[int]) -> None:
        """Accuse ranks, now or when this rank has come to where they were."""
        frames = {rank: self._frame_of(rank, key) for rank in liars}
        ahead = [f for f in frames.values() if f is not None and position_of(f)[0] > self._at]
        if ahead:
            self._later.append((key, liars))
            return
        patience = self._patience.pop(key, DISPUTE_SECONDS)
        proven = {rank for rank, frame in frames.items() if self._accuse(rank, key, frame)}
        if proven:
            self._accused[key] = _Accused(proven, self._now + patience)
        else:
            self._end(key)

    def _frame_of(self, rank: int, key: Key) -> Frame | None:
        """Return the frame in which a rank gave its result of a task, if it is still here."""
        for frame in self._frames.get(key[0], {}).get(rank, []):
            if any((p, i) == key for p, i, _ in claims_of(messages_of(frame))):
                return frame
        return None

    def _accuse(self, rank: int, key: Key, frame: Frame | None) -> bool:
        """Accuse a rank; False without a proof, and where its state was another."""
        if frame is not None:
            committed, state = position_of(frame)
            if self._states.get(committed) != state:
                return False
            self._out.accused.append((rank, WrongResult(frame.encode(), *key)))
            return True
        self._out.lines.append(
            f"task {key[1]} of pulse {key[0]}: rank {rank} found something else than this rank, "
            "and what it said is not here any more"
        )
        return False

    def _keep(self, task_id: bytes, result: bytes) -> None:
        self._kept_bytes += len(result) - len(self._kept.pop(task_id, b""))
        self._kept[task_id] = result
        while self._kept_bytes > MAX_KEPT_RESULT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _forget_frames(self, pulse: int) -> None:
        found = self._frames.pop(pulse)
        self._frame_bytes -= sum(
            len(frame.payload) for frames in found.values() for frame in frames
        )
