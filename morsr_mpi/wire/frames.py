"""Frames: the signed envelope of everything that travels (the paper's CQEMessage).

A frame is the canonical bytes of (version, type, sender, sequence number, payload,
signature). The signature is over a domain tag, the run's id, the other fields and the
payload's digest, so a frame is worth the same whatever path it came by, and nothing in
another run. Content decides what a frame does, never the place it arrived from.
"""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_FRAME_BYTES, MAX_RANKS
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.shapes import count

FRAME_VERSION = 2
_DOMAIN = "morsr-frame"
#: Most that envelope and signature add to a payload: seven heads of at most nine bytes.
FRAME_OVERHEAD = 64
_FIELDS = 6
#: Frames without a signature of their own: what counts in them is signed inside.
SELF_SIGNED = frozenset({MessageType.CONSENSUS_VOTE})
_MAX_SIGNATURE = 256
_TYPES = frozenset(int(kind) for kind in MessageType)


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame. sequence: round number, or the sender's count of direct frames."""

    kind: MessageType
    sender: int
    sequence: int
    payload: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The bytes it was decoded from."""
        fields = (self.sender, self.sequence, self.payload, self.signature)
        return encode((FRAME_VERSION, int(self.kind), *fields))


def encode_frame(
    kind: MessageType, sender: int, sequence: int, payload: bytes, run: bytes, signer: Signer
) -> bytes:
    """Return the signed bytes. Raises InternalError when they exceed MAX_FRAME_BYTES."""
    signature = b""
    if kind not in SELF_SIGNED:
        signature = signer.sign(_signed(int(kind), sender, sequence, payload, run))
    data = encode((FRAME_VERSION, int(kind), sender, sequence, payload, signature))
    if len(data) > MAX_FRAME_BYTES:
        raise InternalError(f"a frame of {len(data)} bytes exceeds the limit {MAX_FRAME_BYTES}")
    return data


def decode_frame(data: bytes, source: int) -> Frame:
    """Return the frame in these bytes; its signature is not yet checked.

    source: the rank it came from, for messages. Raises ProtocolError naming that rank.
    """
    try:
        fields = decode(data, MAX_FRAME_BYTES)
    except CanonicalError as error:
        raise ProtocolError(f"rank {source} sent a malformed frame: {error}") from None
    if type(fields) is not tuple or len(fields) != _FIELDS:
        raise ProtocolError(f"rank {source} sent a frame without the fields of a frame")
    version, kind, sender, sequence, payload, signature = fields
    if type(version) is not int or version != FRAME_VERSION:
        raise ProtocolError(
            f"rank {source} sent a frame of version {version}, this is {FRAME_VERSION}: "
            "start all ranks with the same software"
        )
    if type(kind) is not int or kind not in _TYPES:
        raise ProtocolError(f"rank {source} sent a frame of unknown type {kind}")
    try:
        if type(payload) is not bytes or type(signature) is not bytes:
            raise ValueError("payload or signature that are not bytes")
        if len(signature) > _MAX_SIGNATURE:
            raise ValueError("a signature that is too long")
        return Frame(
            MessageType(kind), count(sender, MAX_RANKS - 1), count(sequence), payload, signature
        )
    except ValueError as error:
        raise ProtocolError(f"rank {source} sent a malformed frame: {error}") from None


def check_signature(frame: Frame, key: bytes, run: bytes, signer: Signer) -> None:
    """Raise ProtocolError unless the owner of the key signed the frame for this run."""
    if frame.kind in SELF_SIGNED:
        if frame.signature:
            raise ProtocolError(f"rank {frame.sender} signed a frame that is signed inside")
        return
    signed = _signed(int(frame.kind), frame.sender, frame.sequence, frame.payload, run)
    if not signer.verify(key, signed, frame.signature):
        raise ProtocolError(f"a frame that says it is from rank {frame.sender} is not signed by it")


def _signed(kind: int, sender: int, sequence: int, payload: bytes, run: bytes) -> bytes:
    """The bytes under a signature; the payload's digest stands for it.

    So a signature can be shown to a third party without the payload, and a large payload is
    hashed once, by the faster hash.
    """
    return encode((_DOMAIN, run, FRAME_VERSION, kind, sender, sequence, sha256(payload)))
