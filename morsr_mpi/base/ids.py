"""Ids of tasks and of computations: what a result is stored and recorded under (paper 3.3, 6.1).

A task's id covers the algorithm's version and the task's parameters, cutoff included; the id of
a computation covers the problem too, so equal ids mean equal results, on whatever machine.
"""

from __future__ import annotations

from functools import lru_cache

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import sha256

_TASK = "morsr-task"
_COMPUTATION = "morsr-computation"
#: Head of an array of seven, and of one of five: kind, target, component, cutoff, body.
_SEVEN, _FIVE = b"\x87", b"\x85"
#: What is in front of the task id in a computation's canonical bytes, without the problem.
_HEAD = b"\x83" + encode(_COMPUTATION) + b"\x58\x20"


def task_id(algorithm: int, parameters: bytes) -> bytes:
    """Return the SHA-256 of the canonical bytes of ("morsr-task", algorithm, *parameters).

    parameters: canonical bytes of (kind, target, component, cutoff, body). Raises ValueError
    for bytes that cannot be those.
    """
    if parameters[:1] != _FIVE:
        raise ValueError("parameters of a task are five")
    return sha256(_front(algorithm) + parameters[1:])


@lru_cache(maxsize=16)
def _front(algorithm: int) -> bytes:
    return _SEVEN + encode(_TASK) + encode(algorithm)


def computation_id(problem: bytes, task: bytes) -> bytes:
    """Return the SHA-256 of the canonical bytes of ("morsr-computation", problem, task id)."""
    return sha256(_HEAD + problem + b"\x58\x20" + task)
