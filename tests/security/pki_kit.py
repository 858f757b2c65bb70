"""Certificates for the tests: one CA; every certificate by its own key."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from morsr_mpi.adapters.x509_authority import Authority, new_key
from morsr_mpi.adapters.x509_verify import TrustRoot, X509Identity
from morsr_mpi.security.identity import Names

#: All of the tests happen at this time, whatever the clock says.
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Pki:
    """A CA and what it issues."""

    authority: Authority

    @property
    def trust(self) -> TrustRoot:
        return TrustRoot([self.authority.certificate])

    def leaf(
        self, rank: int, run: str = "", host: str = "", hours: float = 24.0, begin: float = NOW
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A certificate for a rank (or for a host when the rank is negative)."""
        key = new_key()
        names = Names(
            frozenset([rank] if rank >= 0 else []),
            frozenset([host] if host else []),
            frozenset([run] if run else []),
        )
        return self.authority.issue(names, key.public_key(), NOW, hours, begin), key

    def identity(self, rank: int, run: str = "", trust: TrustRoot | None = None) -> X509Identity:
        certificate, key = self.leaf(rank, run)
        return X509Identity([certificate], key, trust or self.trust)
