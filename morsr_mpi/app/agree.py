"""Steps that all ranks take together before the search: one fails, all fail, one speaks.

Uses the exchange rounds of the transport, before the node does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import IDLE_SLEEP_MAX_SECONDS, SLOT_BYTES
from morsr_mpi.base.errors import (
    EXIT_DATA,
    EXIT_INTERNAL,
    EXIT_USAGE,
    InputError,
    InternalError,
    MorsrError,
    UsageError,
)
from morsr_mpi.base.ports import Clock, Transport

T = TypeVar("T")

#: Leaves room in a slot for the length and the encoding around a message.
MAX_MESSAGE_BYTES = SLOT_BYTES - 64


class CommonError(Exception):
    """What all ranks raise when one of them failed.

    exit_code: of the process. message: one line. rank: the lowest rank that has it and is
    to show it.
    """

    def __init__(self, exit_code: int, message: str, rank: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
        self.rank = rank

    def as_error(self) -> MorsrError:
        """Return the error of the package that says the same, for callers of the Python API."""
        kinds: dict[int, type[MorsrError]] = {EXIT_USAGE: UsageError, EXIT_DATA: InputError}
        return kinds.get(self.exit_code, InternalError)(self.message)


class Together:
    """Lets all ranks of a transport take a step and learn how it went everywhere."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self.rank = transport.rank
        self.size = transport.size

    def exchange(self, data: bytes) -> list[bytes]:
        """Return the data of all ranks in rank order; at most MAX_MESSAGE_BYTES each."""
        if len(data) > MAX_MESSAGE_BYTES:
            raise InternalError(f"{len(data)} bytes do not fit into one slot")
        slot = len(data).to_bytes(4, "big") + data
        self._transport.start_round(slot.ljust(SLOT_BYTES, b"\0"))
        while (slots := self._transport.poll_round()) is None:
            self._clock.sleep(IDLE_SLEEP_MAX_SECONDS)
        return [part[4 : 4 + int.from_bytes(part[:4], "big")] for part in slots]

    def close(self) -> None:
        """Let go of the transport, once every rank has come here."""
        while not self._transport.leave():
            self._clock.sleep(IDLE_SLEEP_MAX_SECONDS)
        self._transport.close()

    def agree(self, step: Callable[[], T], describe: Callable[[Exception], str]) -> T:
        """Take the step on every rank and return its value.

        describe: the one line for an exception that is no MorsrError. Raises CommonError on
        all ranks when the step failed on any of them.
        """
        value, report, cause = _attempt(step, describe)
        self._verdict(report, cause)
        assert value
        return value[0]

    def agree_on(
        self, rank: int, step: Callable[[], T], describe: Callable[[Exception], str]
    ) -> T | None:
        """Take the step on one rank while the others wait; None there. Raises as `agree`."""
        if rank != self.rank:
            self._verdict((), None)
            return None
        value, report, cause = _attempt(step, describe)
        self._verdict(report, cause)
        return value[0] if value else None

    def _verdict(self, report: tuple[object, ...], cause: Exception | None) -> None:
        for rank, data in enumerate(self.exchange(encode(report))):
            failure = _failure(data, rank)
            if failure is not None:
                raise failure from cause


def _attempt(
    step: Callable[[], T], describe: Callable[[Exception], str]
) -> tuple[list[T], tuple[object, ...], Exception | None]:
    """Take a step; return its value (in a list, empty when it failed), report and exception."""
    try:
        return [step()], (), None
    except MorsrError as exc:
        return [], (exc.exit_code, _clip(str(exc))), exc
    except Exception as exc:
        return [], (EXIT_INTERNAL, _clip(describe(exc))), exc


def _clip(text: str) -> str:
    """Return the text on one line, short enough for a slot."""
    return " ".join(text.split()).encode()[: MAX_MESSAGE_BYTES - 64].decode(errors="ignore")


def _failure(data: bytes, rank: int) -> CommonError | None:
    """Return what a rank reported, None when all went well there."""
    try:
        match decode(data):
            case ():
                return None
            case (int(code), str(text)):
                return CommonError(code, text, rank)
    except CanonicalError:
        pass
    return CommonError(EXIT_INTERNAL, f"rank {rank} sent an unreadable report", 0)
