"""Who a rank is: names in certificates, and the proof that ties a run's key to them (paper 10.1).

A certificate names what its holder may be, as URIs among its subject alternative names:

    urn:morsr:rank:3        rank 3                 (absent: any rank of the named hosts)
    urn:morsr:host:node17   any rank on a host     (a DNS name counts as well: site certificates)
    urn:morsr:run:NAME      in the run NAME only   (absent: in any run)

A rank proves it by a *credential*: its chain of certificates, and a signature by the leaf's key
over the run, the rank, its host, what the run computes, and the Ed25519 key of this run that signs
its frames. So frames stay small and fast whatever kind of key a site's certificates have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_CHAIN, MAX_CREDENTIAL_BYTES
from morsr_mpi.base.errors import AuthenticationError, UsageError

_RANK = "urn:morsr:rank:"
_HOST = "urn:morsr:host:"
_RUN = "urn:morsr:run:"
_DOMAIN = "morsr-credential"
CREDENTIAL_VERSION = 1
_MAX_NAME = 200


@dataclass(frozen=True)
class Names:
    """What a certificate says its holder may be; empty where it does not say."""

    ranks: frozenset[int] = frozenset()
    hosts: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()

    @classmethod
    def read(cls, uris: Iterable[str], dns: Iterable[str]) -> Names:
        """Names among the URIs and DNS names of a certificate; others' URIs are ignored.

        Raises AuthenticationError for a name of ours that is malformed.
        """
        ranks, hosts, runs = set(), {name.lower() for name in dns}, set()
        for uri in uris:
            if uri.startswith(_RANK):
                digits = uri[len(_RANK) :]
                if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
                    raise AuthenticationError(f"certificate with the malformed name {uri!r}")
                ranks.add(int(digits))
            elif uri.startswith(_HOST):
                hosts.add(uri[len(_HOST) :].lower())
            elif uri.startswith(_RUN):
                runs.add(uri[len(_RUN) :])
        return cls(frozenset(ranks), frozenset(hosts), frozenset(runs))

    def uris(self) -> list[str]:
        """The names as URIs, sorted."""
        return (
            [f"{_RANK}{rank}" for rank in sorted(self.ranks)]
            + [f"{_HOST}{host}" for host in sorted(self.hosts)]
            + [f"{_RUN}{run}" for run in sorted(self.runs)]
        )

    def admit(self, rank: int, host: str, run: str) -> None:
        """Raise AuthenticationError unless the holder may be this rank of this run."""
        if not self.ranks and not self.hosts:
            raise AuthenticationError("certificate names neither rank nor host")
        if self.ranks and rank not in self.ranks:
            named = ", ".join(map(str, sorted(self.ranks)))
            raise AuthenticationError(f"certificate is for rank {named}, not for rank {rank}")
        if not self.ranks and host.lower() not in self.hosts:
            named = ", ".join(sorted(self.hosts))
            raise AuthenticationError(f"certificate is for host {named}, not for {host!r}")
        if self.runs and run not in self.runs:
            named = ", ".join(sorted(self.runs))
            raise AuthenticationError(f"certificate is for run {named}, not for {run!r}")


def check_name(what: str, name: str) -> str:
    """Return a name of a run or host that can stand in a certificate. Raises UsageError."""
    fine = name.isascii() and name.isprintable() and not set(name) & set(' /\\"<>:')
    if not name or len(name) > _MAX_NAME or not fine:
        raise UsageError(
            f"{what} {name!r} cannot stand in a certificate: use up to {_MAX_NAME} letters, "
            "digits, dots, hyphens, underscores"
        )
    return name


@dataclass(frozen=True)
class Claim:
    """What a rank says of itself. key: public key of its frames; context: digest of problem,
    options and settings, so that a credential shown in one run proves nothing in another."""

    run: str
    rank: int
    host: str
    key: bytes
    context: bytes

    def signed_bytes(self) -> bytes:
        """The bytes under the credential's signature."""
        head = (_DOMAIN, CREDENTIAL_VERSION)
        return encode((*head, self.run, self.rank, self.host, self.key, self.context))


@dataclass(frozen=True)
class Credential:
    """chain: DER certificates, the leaf first; host: claimed; signature: of `Claim`."""

    chain: tuple[bytes, ...]
    host: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """Canonical bytes. Raises AuthenticationError when they would not fit a slot."""
        data = encode((CREDENTIAL_VERSION, self.chain, self.host, self.signature))
        if len(data) > MAX_CREDENTIAL_BYTES:
            raise AuthenticationError(
                f"certificates of {len(data)} bytes do not fit a message (limit "
                f"{MAX_CREDENTIAL_BYTES}): leave out intermediate certificates the others have"
            )
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Credential:
        """Raises AuthenticationError for anything to_bytes did not write."""
        try:
            fields = decode(data, MAX_CREDENTIAL_BYTES)
        except CanonicalError as error:
            raise AuthenticationError(f"malformed credential: {error}") from None
        match fields:
            case (int(version), *_) if version != CREDENTIAL_VERSION:
                raise AuthenticationError(
                    f"credential of version {version}, this is {CREDENTIAL_VERSION}"
                )
            case (int(), tuple(chain), str(host), bytes(signature)) if 0 < len(
                chain
            ) <= MAX_CHAIN and all(type(item) is bytes for item in chain):
                leafs = tuple(item for item in chain if isinstance(item, bytes))
                return cls(leafs, host, signature)
        raise AuthenticationError("malformed credential: fields of the wrong type")


class Identity(Protocol):
    """This rank's identity: makes its credential and judges those of others (adapters)."""

    def credential(self, claim: Claim) -> bytes:
        """Canonical bytes of the credential that proves a claim of ours."""

    def judge(self, claim: Claim, credential: bytes, now: float) -> None:
        """Raise AuthenticationError with the reason unless the credential proves the claim."""
