"""A small replicated computation for simulated votes: pulses of claims that may be lies.

It stands for the search as the agreement sees it (DESIGN sections 3 and 4). Every task has one
right result. What a rank claims is signed. Wrong results are seen by whoever checks a proposal;
claims of *exhausted* only by whoever executes them again, by a private choice. A proposal may
cover one or several pulses, so that a primary has more than one right value to choose from.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from random import Random

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.evidence import DoubleVote
from morsr_mpi.consensus.values import Leave, Step, decode_value

#: Tasks of one pulse; those with an odd index are claims of *exhausted*.
TASKS = 2
#: Pulses that one proposal covers at most.
MAX_BATCH = 3


def right_result(pulse: int, index: int) -> bytes:
    """The one right result of a task."""
    return sha256(f"result {pulse} {index}".encode())


def after(state: bytes, results: list[bytes]) -> bytes:
    """The state after a pulse with these results."""
    return sha256(state + b"".join(results))


def sequential(pulses: int) -> list[bytes]:
    """The states after 0, 1, … pulses of a run without lies."""
    states = [bytes(32)]
    for pulse in range(pulses):
        states.append(after(states[-1], [right_result(pulse, i) for i in range(TASKS)]))
    return states


def choice_threshold(recheck: float, members: int) -> float:
    """Probability with which each of the other members rechecks a claim, so that someone does
    with probability `recheck`; 1 for 1 (DESIGN section 4)."""
    if recheck >= 1.0 or members < 2:
        return 1.0
    return float(1.0 - (1.0 - recheck) ** (1.0 / (members - 1)))


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a rank claims to be the result of a task."""

    pulse: int
    index: int
    contributor: int
    result: bytes
    signature: bytes

    @classmethod
    def signed(
        cls, run: bytes, signer: Signer, rank: int, pulse: int, index: int, result: bytes
    ) -> Contribution:
        """Return a rank's signed claim."""
        data = encode(("claim", run, pulse, index, rank, result))
        return cls(pulse, index, rank, result, signer.sign(data))

    def sound(self, run: bytes, keys: dict[int, bytes], signer: Signer) -> bool:
        """Whether the rank it names signed it."""
        data = encode(("claim", run, self.pulse, self.index, self.contributor, self.result))
        key = keys.get(self.contributor)
        return key is not None and signer.verify(key, data, self.signature)

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.pulse, self.index, self.contributor, self.result, self.signature)

    @classmethod
    def parse(cls, fields: object) -> Contribution:
        """Raise ValueError for fields that are no claim."""
        match fields:
            case (int(pulse), int(index), int(who), bytes(result), bytes(signature)):
                if 0 <= index < TASKS and pulse >= 0:
                    return cls(pulse, index, who, result, signature)
        raise ValueError("no claim")


@dataclass(frozen=True)
class Identity:
    """One rank in one epoch of a job. secret: decides what it rechecks."""

    rank: int
    run: bytes
    keys: dict[int, bytes]
    signer: Signer
    secret: bytes
    recheck: float = 1.0


class Replica:
    """One rank's copy of the computation. caught: claims it executed again and found wrong;
    lies_seen: wrong claims of *exhausted* that came by, and whether it looked."""

    def __init__(self, me: Identity, members: int, draw: Random) -> None:
        self.me = me
        self.pulse = 0
        self.state = bytes(32)
        self.steps = 0
        self.caught: dict[int, Contribution] = {}
        self.votes_caught: dict[int, DoubleVote] = {}
        self.excluded: set[int] = set()
        self.lies_seen: dict[tuple[int, int, bytes], bool] = {}
        self._size = members
        self._draw = draw
        self._claims: dict[tuple[int, int], Contribution] = {}

    # --- computing -------------------------------------------------------------------------
    def contribute(self, pulse: int, members: tuple[int, ...]) -> list[Contribution]:
        """Return this rank's claims on its tasks of a pulse."""
        mine = [i for i in range(TASKS) if members[(pulse + i) % len(members)] == self.me.rank]
        return [self.claim(pulse, index) for index in mine]

    def claim(self, pulse: int, index: int) -> Contribution:
        """Compute a task and sign its result."""
        me = self.me
        result = right_result(pulse, index)
        made = Contribution.signed(me.run, me.signer, me.rank, pulse, index, result)
        self._claims[pulse, index] = made
        return made

    def take(self, claim: Contribution) -> bool:
        """Take in a claim; False for one that its rank did not sign."""
        if claim.pulse < self.pulse or claim.pulse > self.pulse + 2 * MAX_BATCH:
            return True
        if not claim.sound(self.me.run, self.me.keys, self.me.signer):
            return False
        if self._right(claim):
            self._claims.setdefault((claim.pulse, claim.index), claim)
        return True

    def _right(self, claim: Contribution) -> bool:
        """Whether a claim is right as far as this rank looks into it."""
        right = claim.result == right_result(claim.pulse, claim.index)
        if claim.index % 2:
            looks = self._looks_again(claim)
            if not right:  # bookkeeping of the simulation: the rank knows only where it looks
                self.lies_seen[claim.pulse, claim.index, claim.result] = looks
            if not looks:
                return True
        if not right:
            self.caught.setdefault(claim.contributor, claim)
        return right

    def _looks_again(self, claim: Contribution) -> bool:
        """Whether this rank executes an *exhausted* claim again: HMAC of its secret."""
        if self.me.recheck >= 1.0:
            return True
        data = encode((claim.pulse, claim.index, claim.result))
        drawn = int.from_bytes(hmac.digest(self.me.secret, data, "sha256")[:8], "big") / 2.0**64
        return drawn < choice_threshold(self.me.recheck, self._size)

    # --- proposals -------------------------------------------------------------------------
    def proposal(self, members: tuple[int, ...], hurry: bool) -> bytes | None:
        """Return a value to propose; None while claims are missing and there is time.

        hurry: compute what is missing instead of waiting for it.
        """
        for rank in sorted({*self.caught, *self.votes_caught} & set(members) - self.excluded):
            if len(members) > 1 and rank != self.me.rank:
                return Leave((rank,), self.grounds(rank)).encode()
        batch = self._draw.randint(1, MAX_BATCH)
        pulses: list[tuple[Contribution, ...]] = []
        for pulse in range(self.pulse, self.pulse + batch):
            if hurry:
                for index in range(TASKS):
                    if (pulse, index) not in self._claims:
                        self.claim(pulse, index)
            found = [self._claims.get((pulse, index)) for index in range(TASKS)]
            whole = tuple(claim for claim in found if claim is not None)
            if len(whole) < TASKS:
                break
            pulses.append(whole)
        return self.step(pulses) if pulses else None

    def step(self, pulses: list[tuple[Contribution, ...]]) -> bytes:
        """Return the value that proposes these claims from this rank's state on."""
        state = self.state
        for claims in pulses:
            state = after(state, [claim.result for claim in claims])
        rows = tuple(tuple(claim.fields() for claim in claims) for claims in pulses)
        return Step(encode((self.pulse, rows, state))).encode()

    def grounds(self, rank: int) -> bytes:
        """Return what shows that a rank lied."""
        votes = self.votes_caught.get(rank)
        if votes is not None:
            return encode(("votes", votes.encode()))
        return encode(("claim", self.caught[rank].fields()))

    def check(self, value: bytes) -> bool:
        """Whether this rank would vote for a value."""
        try:
            decoded = decode_value(value)
            if isinstance(decoded, Leave):
                return self._guilty(decoded)
            first, pulses, state = parse_step(decoded)
        except (ValueError, CanonicalError):
            return False
        if first != self.pulse or not 1 <= len(pulses) <= MAX_BATCH:
            return False
        at = self.state
        for offset, claims in enumerate(pulses):
            expected = [(first + offset, index) for index in range(TASKS)]
            if [(claim.pulse, claim.index) for claim in claims] != expected:
                return False
            for claim in claims:
                if not claim.sound(self.me.run, self.me.keys, self.me.signer):
                    return False
                if not self._right(claim):
                    return False
            at = after(at, [claim.result for claim in claims])
        return at == state

    def _guilty(self, leave: Leave) -> bool:
        """Whether the grounds show that exactly these ranks lied."""
        match decode(leave.grounds):
            case ("votes", bytes(data)):
                votes = DoubleVote.decode(data)
                sound = votes.valid(self.me.run, self.me.keys, self.me.signer)
                return sound and leave.ranks == (votes.culprit,)
            case ("claim", fields):
                claim = Contribution.parse(fields)
                wrong = claim.result != right_result(claim.pulse, claim.index)
                sound = claim.sound(self.me.run, self.me.keys, self.me.signer)
                return sound and wrong and leave.ranks == (claim.contributor,)
        return False

    # --- decisions -------------------------------------------------------------------------
    def apply(self, value: bytes) -> list[tuple[int, bytes]]:
        """Carry out what was decided; return the states it led through, as (pulse, digest)."""
        decoded = decode_value(value)
        if isinstance(decoded, Leave):
            self.excluded.update(decoded.ranks)
            return []
        first, pulses, _ = parse_step(decoded)
        passed = []
        for offset, claims in enumerate(pulses):
            self.state = after(self.state, [claim.result for claim in claims])
            self.pulse = first + offset + 1
            passed.append((self.pulse, self.state))
        self.steps += 1
        for key in [key for key in self._claims if key[0] < self.pulse]:
            del self._claims[key]
        return passed


def parse_step(step: Step) -> tuple[int, list[tuple[Contribution, ...]], bytes]:
    """Return first pulse, claims of each pulse and the state after; ValueError for others."""
    match decode(step.payload):
        case (int(first), tuple(rows), bytes(state)):
            claims = [tuple(Contribution.parse(f) for f in _row(row)) for row in rows]
            return first, claims, state
    raise ValueError("no step")


def _row(value: object) -> tuple[object, ...]:
    if type(value) is not tuple:
        raise ValueError("no row")
    return value
