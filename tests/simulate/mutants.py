"""Mistakes put into the agreement on purpose: each must be caught by the invariants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from morsr_mpi.consensus import core, membership, quorum, viewchange, views, voting
from morsr_mpi.consensus.rounds import Round
from morsr_mpi.consensus.state import State
from morsr_mpi.consensus.tally import Tally
from morsr_mpi.consensus.timer import Timer
from morsr_mpi.consensus.trust import Trust
from morsr_mpi.consensus.views import Views
from morsr_mpi.consensus.voting import Voting

Patch = pytest.MonkeyPatch


def quorum_minus_one(patch: Patch) -> None:
    patch.setattr(membership, "quorum", lambda n: quorum.quorum(n) - 1)


def quorum_of_f_plus_one(patch: Patch) -> None:
    patch.setattr(membership, "quorum", lambda n: quorum.max_faulty(n) + 1)


def skipped_evidence(patch: Patch) -> None:
    add = Tally.add
    patch.setattr(Tally, "add", lambda self, vote: (add(self, vote), None)[1])


def evidence_against_the_wrong_rank(patch: Patch) -> None:
    add = Tally.add

    def framed(self: Tally, vote: Any) -> Any:
        found = add(self, vote)
        if found is None:
            return None
        wrong = (found.culprit + 1) % 4
        return replace(
            found,
            first=replace(found.first, voter=wrong),
            second=replace(found.second, voter=wrong),
        )

    patch.setattr(Tally, "add", framed)


def forgotten_lock(patch: Patch) -> None:
    ask = Views._ask_for

    def forgetful(self: Views, view: int) -> None:
        self._state.prepared = None
        ask(self, view)

    patch.setattr(Views, "_ask_for", forgetful)


def lock_not_obeyed(patch: Patch) -> None:
    patch.setattr(State, "forced", property(lambda self: None))


def signatures_unchecked(patch: Patch) -> None:
    patch.setattr(Trust, "signed", lambda self, vote: True)


def certificates_unchecked(patch: Patch) -> None:
    patch.setattr(Trust, "believes", lambda self, certificate, kind, tally: True)


def second_proposal_accepted(patch: Patch) -> None:
    take = Voting.pre_prepare

    def gullible(self: Voting, source: int, message: Any) -> None:
        state, digest = self._state, message.vote.subject.digest
        if state.round.digest not in (None, digest):
            state.round = Round()
            state.tally._answers.clear()
        take(self, source, message)

    patch.setattr(Voting, "pre_prepare", gullible)


def values_unchecked(patch: Patch) -> None:
    checked = Voting.checked
    patch.setattr(Voting, "checked", lambda self, digest, valid: checked(self, digest, True))


def view_of_one_claim(patch: Patch) -> None:
    for module in (views, viewchange):
        patch.setattr(module, "survivors_needed", lambda before, after: 1)


def deaf_to_the_timer(patch: Patch) -> None:
    patch.setattr(Timer, "expired", lambda self, token: False)


def lost_messages_not_said_again(patch: Patch) -> None:
    patch.setattr(core.ByzantineConsensus, "_resend", lambda self: None)


def commit_without_prepare(patch: Patch) -> None:
    patch.setattr(voting.Voting, "_prepare", lambda self, this: True)


#: Each mutant with the invariants of which at least one must break, or must stay unused.
MUTANTS: dict[Callable[[Patch], None], set[str]] = {
    quorum_minus_one: {"certificates"},
    quorum_of_f_plus_one: {"certificates", "agreement"},
    skipped_evidence: {"evidence unused"},
    evidence_against_the_wrong_rank: {"evidence"},
    forgotten_lock: {"agreement"},
    signatures_unchecked: {"certificates"},
    certificates_unchecked: {"certificates"},
    second_proposal_accepted: {"no double vote"},
    values_unchecked: {"validity"},
    view_of_one_claim: {"agreement"},
    lock_not_obeyed: {"agreement"},
    deaf_to_the_timer: {"progress"},
    lost_messages_not_said_again: {"progress"},
    commit_without_prepare: {"agreement"},
}
