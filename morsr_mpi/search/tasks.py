"""Tasks and results: what travels between ranks, in canonical bytes.

A task names everything its result depends on besides the problem, so that its digest together
with the problem's and the algorithm version is a content address (paper section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_DIMENSION
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ids import task_id
from morsr_mpi.base.version import ALGORITHM_VERSION
from morsr_mpi.lattice.tilecode import pack_tiles, unpack_tiles
from morsr_mpi.search.chambers import Chamber, pack, unpack
from morsr_mpi.search.compact import expand, squeeze

#: Kinds of task (DESIGN section 2).
COMPLETE = "complete"
ADVANCE = "advance"
PROVE = "prove"
#: Results kept parsed from when they came until they are committed, and up to which size.
_RECENT = 512
_SMALL_BYTES = 2048


@dataclass(frozen=True)
class Task:
    """kind; target and part (component of Q); cutoff: objective of the part to beat (inf: none).

    body: the kind's parameters.

    COMPLETE: body = tuple of beams (order kind, seed, width, branch, gamma, patience of the walk
    that follows).
    ADVANCE: body = (point packed by tilecode, patience, seed): a walk from the committed point.
    PROVE: body = (packed chambers, split, budget in work units).
    weight: predicted work units, for whoever assigns tasks; not part of the identity.
    parameters: canonical bytes of everything else, what the ledger records.
    """

    kind: str
    target: int
    part: int
    cutoff: float
    body: tuple[object, ...]
    weight: float = field(default=0.0, compare=False)
    parameters: bytes = field(init=False, compare=False, repr=False)
    task_id: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        parameters = encode((self.kind, self.target, self.part, self.cutoff, self.body))
        object.__setattr__(self, "parameters", parameters)
        object.__setattr__(self, "task_id", task_id(ALGORITHM_VERSION, parameters))

    @property
    def chambers(self) -> int:
        """Chambers that it explores."""
        packed = self.body[0] if self.kind == PROVE else ()
        return len(packed) if isinstance(packed, tuple) else 0

    def to_bytes(self) -> bytes:
        """Canonical bytes; from_bytes is the inverse."""
        return encode((self.kind, self.target, self.part, self.cutoff, self.body, self.weight))

    @classmethod
    def from_parameters(cls, parameters: bytes) -> Task:
        """Return the task of a record. Raises InternalError for bytes that are none's."""
        try:
            fields = decode(parameters)
        except CanonicalError as error:
            raise InternalError(f"malformed task: {error}") from None
        match fields:
            case (str(kind), int(target), int(part), float(cutoff), tuple(body)):
                return cls(kind, target, part, cutoff, body)
            case _:
                raise InternalError("malformed task: fields of the wrong type")

    @classmethod
    def from_bytes(cls, data: bytes) -> Task:
        """Raise InternalError for anything to_bytes did not write."""
        try:
            fields = decode(data)
        except CanonicalError as error:
            raise InternalError(f"malformed task: {error}") from None
        match fields:
            case (str(kind), int(target), int(part), float(cutoff), tuple(body), float(weight)):
                return cls(kind, target, part, cutoff, body, weight)
            case _:
                raise InternalError("malformed task: fields of the wrong type")


@dataclass(frozen=True)
class TaskResult:
    """work: units spent.  point: doubled coordinates of the part as little-endian int32 in natural
    order, and its objective, when it beats the task's cutoff; else empty and inf.  chambers: what
    an enumeration left open.  counts: of an enumeration nodes entered, enumerated, look-aheads,
    completed points, look-aheads by blocks; of beams walks and walks that paid.
    values: the objective each beam of a complete task found (inf: none).
    """

    work: int
    objective: float
    point: bytes
    chambers: tuple[Chamber, ...] = ()
    counts: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical bytes; from_bytes is the inverse. Points and chambers are packed small."""
        point, chambers = pack_tiles(self.point), squeeze(pack(self.chambers))
        return encode((self.work, self.objective, point, chambers, self.counts, self.values))

    @classmethod
    def from_bytes(cls, data: bytes) -> TaskResult:
        """Raise InternalError for anything to_bytes did not write."""
        return _recent(data) if len(data) <= _SMALL_BYTES else cls._parse(data)

    @classmethod
    def _parse(cls, data: bytes) -> TaskResult:
        try:
            fields = decode(data)
            match fields:
                case (
                    int(work),
                    float(objective),
                    bytes(point),
                    bytes(packed),
                    tuple(counts),
                    tuple(values),
                ) if all(isinstance(value, float) for value in values):
                    chambers = tuple(unpack(expand(packed)))
                    plain = unpack_tiles(point, MAX_DIMENSION // 8)
                    return cls(work, objective, plain, chambers, counts, values)
                case _:
                    raise InternalError("malformed result: fields of the wrong type")
        except ValueError as error:  # CanonicalError is one
            raise InternalError(f"malformed result: {error}") from None


@lru_cache(maxsize=_RECENT)
def _recent(data: bytes) -> TaskResult:
    """A small result: what was looked at when it came is the same when it is committed."""
    return TaskResult._parse(data)
