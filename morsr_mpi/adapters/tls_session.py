"""One TLS 1.3 session between two ranks, over bytes that somebody else carries.

The `ssl` module works on memory BIOs; nothing here knows sockets. Both sides show certificates;
chains, validity and revocation lists are OpenSSL's to check, the names in them ours. A private key
reaches `ssl`, which reads files only, through an anonymous file in memory.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from morsr_mpi.base.config import MAX_HANDSHAKE_BYTES, MAX_TLS_MESSAGE_BYTES, TLS_PIECE_BYTES
from morsr_mpi.base.errors import AuthenticationError, InternalError, ProtocolError

_LENGTH_BYTES = 4
_READ_BYTES = 1 << 14  # one TLS record
_CHUNK_BYTES = 1 << 17

#: Judges the DER certificate a peer has shown; raises AuthenticationError.
Judge = Callable[[bytes], None]


@dataclass(frozen=True)
class TlsFiles:
    """What a context is made of, all PEM: chain and key of this rank, roots, revocation lists."""

    chain: bytes
    key: bytes = field(repr=False)
    roots: bytes
    lists: bytes = b""


def make_context(files: TlsFiles, *, server: bool) -> ssl.SSLContext:
    """Return a context of exactly TLS 1.3 that demands a certificate of the other side.

    Raises AuthenticationError when certificate and key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # names are ranks and hosts of ours, judged by us
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    if server:
        context.num_tickets = 0
    try:
        context.load_verify_locations(cadata=files.roots.decode("ascii"))
        if files.lists:
            _load(files.lists, lambda path: context.load_verify_locations(path))
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        _load(files.chain + files.key, lambda path: context.load_cert_chain(path))
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise AuthenticationError(f"certificate or key that TLS cannot use ({reason})") from None
    return context


def _load(data: bytes, use: Callable[[str], None]) -> None:
    """Give bytes to something that wants a path, without a file on any disk."""
    descriptor = os.memfd_create("morsr-tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        use(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


class TlsSession:
    """One end of a session. Bytes to the peer come from `outgoing`, its bytes go to `receive`."""

    def __init__(self, context: ssl.SSLContext, peer: int, judge: Judge, *, server: bool) -> None:
        """peer: its rank, for messages; judge: called once, with its certificate."""
        self._peer = peer
        self._judge = judge
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server)
        self._heard = 0
        self._buffer = bytearray()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.established = False
        self.moved_bytes = 0  # both ways
        self._shake()

    def send(self, message: bytes) -> None:
        """Queue a message; it leaves once the handshake is done. Raises InternalError."""
        if len(message) > MAX_TLS_MESSAGE_BYTES:
            raise InternalError(
                f"a message of {len(message)} bytes exceeds {MAX_TLS_MESSAGE_BYTES}"
            )
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        if self.established:
            self._flush()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of messages that wait for the handshake."""
        return self._waiting_bytes

    def take_waiting(self) -> list[bytes]:
        """Return, once, the messages that wait for the handshake: this session is given up."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting

    def outgoing(self) -> bytes:
        """Return, once, the bytes that have to reach the peer."""
        data = self._out.read()
        self.moved_bytes += len(data)
        return data

    def receive(self, data: bytes) -> list[bytes]:
        """Take in bytes of the peer and return the messages that are complete.

        Raises AuthenticationError when the peer does not prove who it is, ProtocolError when the
        bytes are not those of an honest peer.
        """
        self.moved_bytes += len(data)
        view = memoryview(data)
        for at in range(0, len(view), _CHUNK_BYTES):  # small pieces stay in the cache
            piece = view[at : at + _CHUNK_BYTES]
            self._in.write(piece)
            if self.established or self._shake():
                self._read()
                continue
            # The end of the handshake and what follows it may come together.
            self._heard += len(piece)
            if self._heard > MAX_HANDSHAKE_BYTES:
                raise ProtocolError(f"rank {self._peer} sent an oversized handshake")
        return self._messages()

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            raise AuthenticationError(_verdict(error)) from None
        except ssl.SSLError as error:
            raise ProtocolError(
                f"rank {self._peer} failed in the TLS handshake ({error.reason or error})"
            ) from None
        der = self._tls.getpeercert(binary_form=True)
        if der is None or self._tls.version() != "TLSv1.3":
            raise AuthenticationError("no certificate shown, or not TLS 1.3")
        self._judge(der)
        self.established = True
        self._flush()
        return True

    def _flush(self) -> None:
        for message in self._waiting:
            view = memoryview(len(message).to_bytes(_LENGTH_BYTES, "big") + message)
            for at in range(0, len(view), TLS_PIECE_BYTES):
                self._tls.write(view[at : at + TLS_PIECE_BYTES])
        self._waiting.clear()
        self._waiting_bytes = 0

    def _read(self) -> None:
        try:
            while True:
                data = self._tls.read(_READ_BYTES)
                if not data:
                    return
                self._buffer += data
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise ProtocolError(
                f"rank {self._peer} sent bytes that are not its TLS session's "
                f"({error.reason or error})"
            ) from None

    def _messages(self) -> list[bytes]:
        found, at = [], 0
        while len(self._buffer) - at >= _LENGTH_BYTES:
            begin = at + _LENGTH_BYTES
            length = int.from_bytes(self._buffer[at:begin], "big")
            if length > MAX_TLS_MESSAGE_BYTES:
                raise ProtocolError(f"rank {self._peer} sent a message that is too long")
            if len(self._buffer) < begin + length:
                break
            with memoryview(self._buffer) as view:
                found.append(bytes(view[begin : begin + length]))
            at = begin + length
        del self._buffer[:at]
        return found


def _verdict(error: ssl.SSLCertVerificationError) -> str:
    """OpenSSL's reason in our words."""
    text = (error.verify_message or str(error)).lower()
    for sign, ours in (
        ("not yet valid", "certificate not valid yet"),
        ("has expired", "certificate expired"),
        ("revoked", "certificate revoked"),
        ("self-signed", "self-signed certificate"),
        ("self signed", "self-signed certificate"),
        ("unable to get local issuer", "certificate not issued by a trusted CA"),
    ):
        if sign in text:
            return f"{ours} ({text})"
    return f"certificate refused ({text})"
