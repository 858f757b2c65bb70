"""What one rank has said and seen about the decision at hand: cleared when it is taken."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from morsr_mpi.base.config import KEPT_DECISIONS, MAX_EARLY_VOTES, MAX_VERDICTS
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.messages import Decision, Message


@dataclass(slots=True)
class Round:
    """One view at one height. digest, value: what the primary proposed."""

    digest: bytes | None = None
    value: bytes = b""
    prepared_sent: bool = False
    committed_sent: bool = False


@dataclass(slots=True)
class Prepared:
    """The highest certificate of PREPARE votes at the current height, with its value."""

    certificate: Certificate
    value: bytes


@dataclass(slots=True)
class Verdicts:
    """What the layer above says of values: None while it has not answered."""

    _known: OrderedDict[bytes, bool | None] = field(default_factory=OrderedDict)

    def ask(self, digest: bytes) -> bool:
        """Whether a value has to be checked: nobody has asked about it yet."""
        if digest in self._known:
            return False
        self._known[digest] = None
        while len(self._known) > MAX_VERDICTS:
            self._known.popitem(last=False)
        return True

    def answer(self, digest: bytes, valid: bool) -> bool:
        """Note a verdict; False when none was asked for, or it was given already."""
        if self._known.get(digest, True) is not None:
            return False
        self._known[digest] = valid
        return True

    def of(self, digest: bytes) -> bool | None:
        """The verdict on a value."""
        return self._known.get(digest)


class Early:
    """Messages about later heights and views, a bounded number of each rank, oldest dropped."""

    def __init__(self) -> None:
        self._kept: dict[int, deque[Message]] = {}

    def __bool__(self) -> bool:
        return bool(self._kept)

    def keep(self, source: int, message: Message) -> None:
        """Keep a message once."""
        kept = self._kept.setdefault(source, deque(maxlen=MAX_EARLY_VOTES))
        if message not in kept:
            kept.append(message)

    def take(self) -> list[tuple[int, Message]]:
        """Remove and return all, by rank and in the order they came."""
        taken = [(source, m) for source in sorted(self._kept) for m in self._kept[source]]
        self._kept.clear()
        return taken


class Decisions:
    """The last decisions, for ranks that missed them; the newest is the stable point."""

    def __init__(self) -> None:
        self._kept: dict[int, Decision] = {}

    def add(self, decision: Decision) -> None:
        """Keep a decision and drop one that is too old."""
        height = decision.certificate.subject.height
        self._kept[height] = decision
        self._kept.pop(height - KEPT_DECISIONS, None)

    def at(self, height: int) -> Decision | None:
        """The decision of a height, if it is kept."""
        return self._kept.get(height)
