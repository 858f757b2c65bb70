"""What signatures and encryption cost a rank, in CPU seconds: for `/run` of result.h5.

It is part of what the loop counts as exchange, vote, check and ledger, shown beside it.
"""

from __future__ import annotations

from morsr_mpi.adapters.clock import CpuCost
from morsr_mpi.base.ports import Clock, Signer


class CryptoCost:
    """One rank's cost so far. tls: handshakes, records and sealed slots."""

    def __init__(self, clock: Clock) -> None:
        self.signing = CpuCost(clock)
        self.verifying = CpuCost(clock)
        self.tls = CpuCost(clock)

    def seconds(self) -> tuple[float, float, float]:
        """CPU seconds of signing, of verifying, of TLS and sealed slots."""
        return self.signing.seconds, self.verifying.seconds, self.tls.seconds

    def counts(self) -> tuple[int, int]:
        """Signatures made and verified."""
        return self.signing.count, self.verifying.count


class MeteredSigner:
    """A signer whose time is counted; everything else of it passes through."""

    def __init__(self, signer: Signer, cost: CryptoCost) -> None:
        self._signer = signer
        self._cost = cost
        self.mode = signer.mode
        self.signature_bytes = signer.signature_bytes
        self.public_key = signer.public_key

    def sign(self, data: bytes) -> bytes:
        """As the signer."""
        with self._cost.signing:
            return self._signer.sign(data)

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """As the signer."""
        with self._cost.verifying:
            return self._signer.verify(public_key, data, signature)
