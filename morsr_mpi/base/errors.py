"""Errors that reach a user: one line that says what is wrong and what to do.

Every error carries the exit code of the command-line tools (DESIGN section 7),
so that the one place that ends a process needs no table of its own.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_USAGE = 64
EXIT_DATA = 65
EXIT_TAMPERED = 66
EXIT_INTERNAL = 70
EXIT_STOPPED = 75


class MorsrError(Exception):
    """Base of all errors meant for a user; the message is one complete line."""

    exit_code = EXIT_INTERNAL


class UsageError(MorsrError):
    """Options or a way of starting that make no sense (exit 64)."""

    exit_code = EXIT_USAGE


class InputError(MorsrError):
    """Data that cannot be used: a file, a matrix, a target (exit 65)."""

    exit_code = EXIT_DATA


class TamperError(MorsrError):
    """A run directory that does not agree with its own records (exit 66)."""

    exit_code = EXIT_TAMPERED


class AuthenticationError(MorsrError):
    """An identity that is not proven: of ours (files) or of a peer; says why (paper 10.1)."""

    exit_code = EXIT_DATA


class InternalError(MorsrError):
    """A broken invariant of ours: always a bug (exit 70)."""

    exit_code = EXIT_INTERNAL


class HostFaultError(InternalError):
    """This rank computed wrongly; the others can go on without it."""


class ProtocolError(MorsrError):
    """A peer sent something that no honest peer sends; names the sender."""

    exit_code = EXIT_INTERNAL


class PeersLostError(MorsrError):
    """The group of ranks is broken: somebody died, is silent, or wants to come back.

    Never shown: whoever runs the group regroups with those that are left.
    """


class StateDiffersError(PeersLostError):
    """The others agreed on another outcome than this rank's: it needs their state."""


class ConvictedError(PeersLostError):
    """A quorum decided that living ranks leave: they computed wrongly.

    ranks: by their numbers in the group; why: the grounds, for people.
    """

    def __init__(self, ranks: tuple[int, ...], why: str) -> None:
        super().__init__(why)
        self.ranks = ranks
        self.why = why


class ExcludedError(MorsrError):
    """The others went on without this rank for good; it must end without touching anything."""


class TooFewRanksError(MorsrError):
    """Too few ranks answer to go on; the last checkpoint is sound (exit 75)."""

    exit_code = EXIT_STOPPED
