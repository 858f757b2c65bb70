"""The part of `morsr audit` that judges evidence against ranks: signatures, and contradictions.

Each file below `evidence/` has to be what its name says, signed by the rank it accuses under a key
and the run id of one group in the journal. Two votes prove themselves. A result proves something
by contradicting the one that the ranks agreed on for the same task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.verifiers import signer_of
from morsr_mpi.base.canonical import CanonicalError
from morsr_mpi.base.config import MAX_VALUE_BYTES
from morsr_mpi.base.digest import DIGEST_BYTES
from morsr_mpi.base.errors import TamperError
from morsr_mpi.consensus.evidence import EVIDENCE_PREFIX, DoubleVote
from morsr_mpi.node.wrong_result import WRONG_RESULT_PREFIX, Claim, WrongResult
from morsr_mpi.provenance.chain import VerifiedChain
from morsr_mpi.provenance.groups import RunGroup, groups_of
from morsr_mpi.provenance.steps import Step


@dataclass
class EvidenceFindings:
    """proven: files that prove what they say; open: signed claims that the journal does not
    contradict: it has no such task, planned from that state, or the same result."""

    proven: int = 0
    open: int = 0

    @property
    def line(self) -> str:
        """One line for people."""
        if not self.proven + self.open:
            return "evidence: none"
        more = f", {self.open} that the journal does not contradict" if self.open else ""
        return f"evidence: {self.proven} proven, signed by whom it accuses{more}"


def audit_evidence(run: RunDirectory, chain: VerifiedChain) -> EvidenceFindings:
    """Judge every file below `evidence/`. Raises TamperError naming the first that is none."""
    found = EvidenceFindings()
    folder = run.path / "evidence"
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not files:
        return found
    groups, agreed = groups_of(chain), _Agreed(chain)
    for path in files:
        try:
            if path.stat().st_size > MAX_VALUE_BYTES:
                raise ValueError(f"it has more than {MAX_VALUE_BYTES} bytes")
            name, proven = _judge(path.read_bytes(), groups, agreed)
        except (ValueError, CanonicalError) as exc:
            raise TamperError(f"{path} is no evidence: {exc}") from None
        except OSError as exc:
            raise TamperError(f"{path} cannot be read: {exc.strerror or exc}") from None
        if path.name != name:
            raise TamperError(f"{path} bears another name than its content has: {name}")
        found.proven += proven
        found.open += not proven
    return found


class _Agreed:
    """What the journal's pulses that count say of a task."""

    def __init__(self, chain: VerifiedChain) -> None:
        bodies = [body for body in chain.pulses() if not isinstance(body, Step)]
        self._results = {body.pulse: body.results for body in bodies}
        self._tasks = {body.pulse: body.tasks for body in bodies}
        self._states = {body.pulse + 1: body.state for body in bodies}

    def contradicts(self, proof: WrongResult, claim: Claim, group: RunGroup) -> bool:
        """Whether another result was agreed on for the same task.

        It is the same where the group had recorded the same tasks for the pulse; else where it
        was planned from the same S: as the claim names it, or, in a claim made after the pulse
        was committed, as far as the group has recorded it.
        """
        packed = self._results.get(proof.pulse, b"")
        agreed = packed[proof.index * DIGEST_BYTES : (proof.index + 1) * DIGEST_BYTES]
        if proof.pulse in group.pulses:
            same = group.pulses[proof.pulse].tasks == self._tasks.get(proof.pulse)
        elif claim.committed <= proof.pulse:
            same = self._states.get(claim.committed, claim.state) == claim.state
        else:
            same = all(
                self._states.get(number + 1) == body.state
                for number, body in group.pulses.items()
                if number < proof.pulse
            )
        return same and bool(agreed) and agreed != claim.digest


def _judge(data: bytes, groups: list[RunGroup], agreed: _Agreed) -> tuple[str, bool]:
    """Return the name evidence has to have, and whether it proves what it says.

    Raises ValueError for what is no evidence against a rank of any group.
    """
    if data.startswith(EVIDENCE_PREFIX):
        votes = DoubleVote.decode(data)
        if votes.encode() != data:
            raise ValueError("two votes in another form")
        for group in groups:
            if votes.valid(group.run, _keys(group), signer_of(group.security)):
                height = votes.first.subject.height
                return f"double-vote-{votes.culprit}-{height}.bin", True
        raise ValueError("no rank of this run has signed two votes that exclude each other")
    if not data.startswith(WRONG_RESULT_PREFIX):
        raise ValueError("neither two votes nor a result")
    proof = WrongResult.decode(data)
    reason = "no group has signed it"
    for group in groups:
        try:
            claim = proof.claim(group.run, group.keys, signer_of(group.security))
        except ValueError as exc:
            reason = str(exc)
            continue
        name = f"wrong-result-{claim.culprit}-{proof.pulse}-{proof.index}.bin"
        return name, agreed.contradicts(proof, claim, group)
    raise ValueError(reason)


def _keys(group: RunGroup) -> Mapping[int, bytes]:
    return dict(enumerate(group.keys))
