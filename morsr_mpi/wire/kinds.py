"""Types of message and frame: the paper's (section 5.1), and what a run needs besides."""

from __future__ import annotations

from enum import IntEnum


class MessageType(IntEnum):
    """The number that travels. Numbers are never reused; new types get new ones."""

    CHAMBER_ASSIGNMENT = 1
    """Coordinator to all: who computes which task of a pulse."""
    OPTIMIZATION_RESULT = 2
    """Results of tasks, whole."""
    STATE_SYNC = 3
    """A piece of what a rank lacks of the state S, or of the pulses that lead to it."""
    CONSENSUS_VOTE = 4
    """A vote, signed for itself."""
    HEARTBEAT = 5
    """Progress of the sender: work done, time busy."""
    CACHE_REQUEST = 6
    """Asks for results by digest."""
    CACHE_RESPONSE = 7
    """Pieces of results asked for."""
    HELLO = 16
    """First slot of every rank: its key and what it was started with."""
    ROUND = 17
    """Frame of an exchange round: a header and any number of messages."""
    RESULT_ANNOUNCEMENT = 18
    """Digest and size of results too big for the slot."""
    STOP_REQUEST = 19
    """Any rank to the coordinator: stop at the next pulse boundary."""
    DONE = 20
    """The sender has committed its last pulse, with the state it ended in."""
    TASK_REASSIGNMENT = 21
    """Coordinator to all: other ranks for tasks of a pulse ordered earlier."""
    PULSE_PROPOSAL = 22
    """Coordinator to all: what it committed, and whose results count."""
    RELAY = 23
    """Frame over point-to-point with the content of a slot, while a round is late."""
    SLOT_REQUEST = 24
    """Asks for a slot again that arrived damaged."""
    SYNC_REQUEST = 25
    """Asks for what leads from the sender's state to the receiver's (algorithm 5.1)."""
    BATCH = 26
    """Frame of several messages to one rank (algorithm 5.2)."""
    REPLICA = 27
    """Between the stores of two ranks: a replica of a result, asked for or brought."""


class Priority(IntEnum):
    """Who goes first where several messages wait (paper section 5.3): least number first."""

    VOTE = 0
    CONTROL = 1
    RESULT = 2
    BULK = 3


# By plain numbers: members of an enumeration are hashed by slow code.
_PRIORITY = {
    int(MessageType.CONSENSUS_VOTE): Priority.VOTE,
    int(MessageType.OPTIMIZATION_RESULT): Priority.RESULT,
    int(MessageType.RESULT_ANNOUNCEMENT): Priority.RESULT,
    int(MessageType.CACHE_RESPONSE): Priority.BULK,
    int(MessageType.STATE_SYNC): Priority.BULK,
    int(MessageType.REPLICA): Priority.BULK,
}
#: Messages nobody waits for: they may wait for company (`config.BATCH_SECONDS`).
_PATIENT = frozenset({int(MessageType.HEARTBEAT)})
#: Messages whose bulk is compressed before they are made, or cannot be.
_DENSE = frozenset({int(MessageType.OPTIMIZATION_RESULT), int(MessageType.CACHE_RESPONSE)})


def priority(kind: MessageType) -> Priority:
    """Return the priority of a type of message."""
    return _PRIORITY.get(int(kind), Priority.CONTROL)


def patient(kind: MessageType) -> bool:
    """Whether messages of this type may wait for others to the same rank."""
    return int(kind) in _PATIENT


def dense(kind: MessageType) -> bool:
    """Whether compressing a message of this type is not worth a try."""
    return int(kind) in _DENSE
