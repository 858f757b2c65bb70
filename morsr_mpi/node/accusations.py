"""Accusations of wrong results: heard, judged, and what follows for the vote (DESIGN section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.base.config import MAX_ACCUSATIONS
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.values import Leave
from morsr_mpi.node.claims import ClaimBook
from morsr_mpi.node.wrong_result import Claim, WrongResult


class Accusations:
    """Who is accused of what, and whom this rank finds guilty."""

    def __init__(
        self, run: bytes, keys: Sequence[bytes], signer: Signer, claims: ClaimBook
    ) -> None:
        self.guilty: dict[int, WrongResult] = {}
        self._run, self._keys, self._signer = run, tuple(keys), signer
        self._claims = claims
        self._open: dict[WrongResult, tuple[Claim, int]] = {}

    def hear(self, data: bytes, sender: int) -> None:
        """Take in evidence that another rank sent. Raises ProtocolError for what proves nothing."""
        try:
            proof = WrongResult.decode(data)
            claim = proof.claim(self._run, self._keys, self._signer)
        except ValueError as error:
            raise ProtocolError(f"rank {sender} sent evidence that proves nothing: {error}") from (
                None
            )
        if claim.culprit not in self.guilty and len(self._open) < MAX_ACCUSATIONS:
            self._open.setdefault(proof, (claim, sender))

    def find(self, culprit: int, proof: WrongResult) -> bool:
        """This rank finds another guilty; False if it did before."""
        return self.guilty.setdefault(culprit, proof) is proof

    def judged(self) -> tuple[list[tuple[int, WrongResult]], list[str]]:
        """Return who is newly found guilty of what he was accused of, and lines about those who
        are not."""
        found, lines = [], []
        for proof, (claim, sender) in list(self._open.items()):
            culprit, wrong = claim.culprit, self._claims.judge(proof, claim)
            if wrong is None:
                continue
            del self._open[proof]
            if wrong:
                found.append((culprit, proof))
            else:
                lines.append(
                    f"rank {sender} says that rank {culprit} computed task {proof.index} of pulse "
                    f"{proof.pulse} wrongly; this rank does not find so"
                )
        return found, lines

    def verdict(self, leave: Leave) -> bool | None:
        """Whether a proposed exclusion is right; None until this rank knows."""
        try:
            proof = WrongResult.decode(leave.grounds)
            claim = proof.claim(self._run, self._keys, self._signer)
        except ValueError:
            return False
        if leave.ranks != (claim.culprit,):
            return False
        return self._claims.judge(proof, claim)

    def proposal(self, members: Sequence[int]) -> Leave | None:
        """Return the exclusion to propose next."""
        for culprit, proof in sorted(self.guilty.items()):
            if culprit in members:
                return Leave((culprit,), proof.encode())
        return None
