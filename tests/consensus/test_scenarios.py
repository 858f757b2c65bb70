"""Golden scenarios: text files of commands and of everything the ranks do in answer.

`tests/consensus/scenarios/*.txt`: a command line starts with `>`; the lines below it are what
happened. Set MORSR_UPDATE_GOLDEN=1 to write them anew, and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from agreeing import Cluster, leave, step

from morsr_mpi.base.digest import sha256
from morsr_mpi.consensus import effects as fx
from morsr_mpi.consensus import events as ev
from morsr_mpi.consensus.messages import (
    Certified,
    Decision,
    Message,
    NewView,
    PrePrepare,
    Status,
    ViewChange,
    VoteCast,
)
from morsr_mpi.consensus.values import Leave, Step, decode_value

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


def _name(value: bytes) -> str:
    match decode_value(value):
        case Step(payload):
            return payload.decode()
        case Leave(ranks, _):
            return "leave " + " ".join(map(str, ranks))


class Scenario:
    """Runs the commands of one file and tells what happens."""

    def __init__(self) -> None:
        self.cluster = Cluster(1)
        self.names: dict[bytes, str] = {}
        self.at: dict[int, int] = {}

    def value(self, words: list[str]) -> bytes:
        value = leave(*map(int, words[1:])) if words[0] == "leave" else step(" ".join(words))
        self.names[sha256(value)] = _name(value)
        return value

    def run(self, line: str) -> list[str]:
        """One command; returns what the ranks did."""
        cluster = self.cluster
        word, *rest = line.split()
        match word:
            case "ranks":
                liars = frozenset(map(int, rest[2:]))  # ranks 4 liars 0
                self.cluster = Cluster(int(rest[0]), liars=liars)
                self.at = dict.fromkeys(self.cluster.cores, 0)
                return []
            case "propose":
                cluster.propose(self.value(rest))
            case "lie":  # lie 0 to 1 2 : a
                to, value = " ".join(rest[2:]).split(" : ")
                cluster.lie(int(rest[0]), self.value(value.split()), map(int, to.split()))
            case "deliver":  # deliver 0-1 0-2
                for pair in rest:
                    source, dest = map(int, pair.split("-"))
                    cluster.deliver(source, dest)
            case "settle":
                cluster.settle(map(int, rest))
            case "lose":
                cluster.lose(map(int, rest))
            case "timeout":
                cluster.time_out(*map(int, rest))
            case "resend":
                cluster.resend()
            case "kill":
                cluster.kill(*map(int, rest))
            case "died":  # died 2 at 3
                cluster.give(int(rest[2]), ev.Died(int(rest[0])))
            case _:
                raise AssertionError(f"unknown command {line!r}")
        return self.news()

    def news(self) -> list[str]:
        lines = []
        for rank, log in self.cluster.log.items():
            for effect in log[self.at[rank] :]:
                told = self.tell(effect)
                if told:
                    lines.append(f"{rank}: {told}")
            self.at[rank] = len(log)
        return lines

    def tell(self, effect: fx.Effect) -> str:
        match effect:
            case fx.Send():
                return f"to {effect.dest}: {self.message(effect.message)}"
            case fx.Broadcast():
                return f"to all: {self.message(effect.message)}"
            case fx.Check():
                return f"check {_name(effect.value)}"
            case fx.Decided():
                voters = " ".join(str(rank) for rank, _ in effect.certificate.signatures)
                return f"DECIDED {effect.height}: {_name(effect.value)} (votes of {voters})"
            case fx.SetTimer():
                return f"timer x{2**effect.doublings}"
            case fx.StopTimer():
                return "no timer"
            case fx.ViewEntered():
                return f"view {effect.ballot.epoch}.{effect.ballot.view}, primary {effect.primary}"
            case fx.MembershipChanged():
                now = effect.now
                return (
                    f"members {now.ranks}, f {effect.before.faulty} -> {now.faulty}, "
                    f"died {effect.died}, excluded {effect.excluded}, sure {effect.sure}"
                )
            case fx.Convicted():
                return f"CONVICTED {effect.evidence.culprit}"
            case fx.Stalled():
                return f"stalled, silent {effect.silent}"
            case fx.Refused():
                return f"refused {effect.who}: {effect.why}"

    def message(self, message: Message) -> str:
        match message:
            case PrePrepare():
                return f"PRE-PREPARE {self.vote(message)}"
            case VoteCast():
                return f"{message.vote.subject.kind.name} {self.vote(message)}"
            case Certified():
                return f"certificate of {message.certificate.subject.kind.name}"
            case Decision():
                return f"decision {message.certificate.subject.height}"
            case ViewChange():
                claim = message.claim
                prepared = self.names[claim.digest] if claim.ballot else "nothing"
                proofs = "" if message.prepared is None else ", with proof"
                view = message.vote.subject.ballot
                return (
                    f"VIEW-CHANGE {view.epoch}.{view.view}, height {claim.height}, "
                    f"prepared {prepared}{proofs}"
                )
            case NewView():
                forced = message.prepared
                ranks = " ".join(str(rank) for rank, _, _ in message.claims)
                value = self.names[forced.subject.digest] if forced else "anything"
                return f"NEW-VIEW of {ranks}: {value}"
            case Status():
                return f"status: view {message.ballot.view}, height {message.height}"

    def vote(self, message: PrePrepare | VoteCast) -> str:
        subject = message.vote.subject
        ballot = subject.ballot
        return (
            f"{self.names[subject.digest]} (view {ballot.epoch}.{ballot.view}, "
            f"height {subject.height})"
        )


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 5


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_scenario(path: Path) -> None:
    expected = path.read_text()
    scenario, lines = Scenario(), []
    for line in expected.splitlines():
        if line.startswith("#"):
            lines.append(line)
        elif line.startswith("> "):
            lines.append(line)
            lines += scenario.run(line[2:])
    told = "\n".join(lines) + "\n"
    if os.environ.get("MORSR_UPDATE_GOLDEN"):
        path.write_text(told)
    assert told == expected
