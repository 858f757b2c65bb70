"""TLS between ranks: contract of a transport, what an attacker on the way can do, and cannot."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from transport_contract import Part, check_transport

from morsr_mpi.adapters import tls_session
from morsr_mpi.adapters.memory import MemoryNetwork, Tamper
from morsr_mpi.adapters.tls_session import TlsFiles, TlsSession, make_context
from morsr_mpi.adapters.tls_transport import DAMAGED_SLOT, SEALED_SLOT_BYTES, TlsTransport
from morsr_mpi.adapters.x509_authority import Authority, new_key
from morsr_mpi.adapters.x509_verify import load_chain, names_of
from morsr_mpi.base.config import MAX_HANDSHAKE_BYTES, SLOT_BYTES
from morsr_mpi.base.errors import AuthenticationError, InternalError, ProtocolError
from morsr_mpi.security.group_key import GroupKey
from morsr_mpi.security.identity import Names


@pytest.fixture(scope="session")
def live() -> Authority:
    """OpenSSL looks at the real clock, so this CA is of today."""
    import time

    return Authority.create("live", time.time() - 600.0, 1.0)


def files(
    ca: Authority, rank: int, *, revoked: x509.Certificate | None = None, hours: float = 1.0,
    begin: float = -60.0, issuer: Authority | None = None,
) -> TlsFiles:  # fmt: skip
    import time

    key = new_key()
    names = Names(ranks=frozenset([rank]))
    now = time.time()
    leaf = (issuer or ca).issue(names, key.public_key(), now, hours, now + begin)
    lists = b""
    if revoked is not None:
        lists = ca.revocation_list([revoked.serial_number], now).public_bytes(Encoding.PEM)
    from morsr_mpi.adapters.key_files import chain_pem, key_pem

    return TlsFiles(chain_pem([leaf]), key_pem(key), chain_pem([ca.certificate]), lists)


def judge(rank: int, der: bytes) -> None:
    names_of(load_chain([der])[0]).admit(rank, "", "")


def transports(
    ca: Authority, size: int, tamper: Tamper | None = None, rekey: int = 1 << 40
) -> list[TlsTransport]:
    network = MemoryNetwork(size, tamper, SEALED_SLOT_BYTES)
    return [
        TlsTransport(network.transport(r), files(ca, r), judge, rekey_bytes=rekey)
        for r in range(size)
    ]


def drive(all_of_them: list[TlsTransport], part: Part) -> None:
    waiting: list[Iterator[None]] = [part(t) for t in all_of_them]
    while waiting:
        for generator in list(waiting):
            try:
                next(generator)
            except StopIteration:
                waiting.remove(generator)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("rekey", [1 << 40, 2_000_000])
def test_it_is_a_transport(live: Authority, size: int, rekey: int) -> None:
    found = transports(live, size, rekey=rekey)
    drive(found, check_transport)
    assert not any(t.refused for t in found)
    ends = 2 * size * (size - 1)  # two ends of two sessions of each pair
    shaken = sum(t.handshakes for t in found)
    assert shaken == ends if rekey > 2_000_000 else shaken > ends or size == 1


def rounds(all_of_them: list[TlsTransport], count: int) -> list[list[bytes]]:
    """What rank 0 sees of some rounds."""
    seen = []
    for number in range(count):
        for t in all_of_them:
            t.start_round(bytes([t.rank + 1, number]) * (SLOT_BYTES // 2))
        waiting = set(all_of_them)
        while waiting:
            for t in list(waiting):
                slots = t.poll_round()
                if slots is not None:
                    waiting.discard(t)
                    if t.rank == 0:
                        seen.append(slots)
    return seen


def test_a_changed_slot_arrives_as_damaged_and_is_counted(live: Authority) -> None:
    def flip(number: int, sender: int, receiver: int, data: bytes) -> bytes:
        if len(data) == SEALED_SLOT_BYTES and (number, sender, receiver) == (1, 1, 0):
            return data[:100] + bytes([data[100] ^ 1]) + data[101:]
        return data

    found = transports(live, 2, flip)
    seen = rounds(found, 3)
    assert seen[1][1] == DAMAGED_SLOT
    assert seen[0][1] == bytes([2, 0]) * (SLOT_BYTES // 2)
    assert seen[2][1] == bytes([2, 2]) * (SLOT_BYTES // 2)
    assert found[0].refused == {1: 1}


def test_a_replayed_or_exchanged_slot_does_not_open(live: Authority) -> None:
    kept: dict[tuple[int, int], bytes] = {}

    def replay(number: int, sender: int, receiver: int, data: bytes) -> bytes:
        if len(data) != SEALED_SLOT_BYTES or receiver != 0:
            return data
        kept[number, sender] = data
        if number == 2 and sender == 1:
            return kept[1, 1]  # an older slot of the same rank
        if number == 3 and sender == 2:
            return kept[3, 1]  # a slot of another rank
        return data

    found = transports(live, 3, replay)
    seen = rounds(found, 4)
    assert seen[2][1] == DAMAGED_SLOT
    assert seen[3][2] == DAMAGED_SLOT
    assert found[0].refused == {1: 1, 2: 1}


@pytest.mark.parametrize("what", ["flip", "truncate", "reorder", "replay"])
def test_bytes_changed_on_the_way_are_refused_and_nothing_false_arrives(
    live: Authority, what: str
) -> None:
    network = MemoryNetwork(2, slot_bytes=SEALED_SLOT_BYTES)
    a, b = (TlsTransport(network.transport(r), files(live, r), judge) for r in range(2))
    a.send(1, b"zeroth")
    while b.handshakes < 2:
        a.poll()
        assert b.poll() in ([], [(0, b"zeroth")])
    assert a.poll() == []
    b.poll()
    for message in (b"first", b"second"):
        a.send(1, message)
    queue = network.queues[1][1]
    frames = list(queue)
    assert len(frames) == 2
    queue.clear()
    source, data = frames[0]
    if what == "flip":
        queue.extend([(source, data[:-1] + bytes([data[-1] ^ 1])), frames[1]])
    elif what == "truncate":
        queue.extend([(source, data[:-3]), frames[1]])
    elif what == "reorder":
        queue.extend(reversed(frames))
    else:
        queue.extend([frames[0], frames[0], frames[1]])
    got = [frame for _ in range(3) for _, frame in b.poll()]
    assert got == ([b"first"] if what == "replay" else [])
    assert b.refused.get(0, 0) >= 1


@settings(max_examples=40)
@given(junk=st.lists(st.binary(max_size=120), max_size=6), known=st.booleans())
def test_no_bytes_from_outside_crash_a_rank(
    live: Authority, junk: list[bytes], known: bool
) -> None:
    network = MemoryNetwork(2, slot_bytes=SEALED_SLOT_BYTES)
    t = TlsTransport(network.transport(1), files(live, 1), judge)
    for data in junk:
        frame = b"\x01\0\0\0\0\0" + data if known else data
        network.queues[1][1].append((0, frame))
        network.queued_bytes[1] += len(frame)
    for _ in range(3):
        assert t.poll() == []
    assert sum(t.refused.values()) <= len(junk)


def shake(client: TlsSession, server: TlsSession) -> None:
    for _ in range(6):
        server.receive(client.outgoing())
        client.receive(server.outgoing())


def session(files_: TlsFiles, *, server: bool) -> TlsSession:
    return TlsSession(make_context(files_, server=server), 9, lambda der: None, server=server)


@pytest.mark.parametrize("case", ["expired", "early", "self-signed", "stranger", "revoked"])
def test_certificates_that_prove_nothing_end_the_handshake(live: Authority, case: str) -> None:
    good = files(live, 0)
    if case == "expired":
        bad = files(live, 1, hours=0.001, begin=-500.0)
    elif case == "early":
        bad = files(live, 1, begin=3600.0)
    elif case == "stranger":
        import time

        bad = files(live, 1, issuer=Authority.create("live", time.time() - 60.0, 1.0))
    elif case == "self-signed":
        import time

        from morsr_mpi.adapters.key_files import chain_pem, key_pem
        from morsr_mpi.adapters.x509_authority import run_certificate

        leaf, key = run_certificate(1, time.time())
        bad = TlsFiles(chain_pem([leaf]), key_pem(key), chain_pem([live.certificate]))
    else:
        bad = files(live, 1)
        leaf = x509.load_pem_x509_certificate(bad.chain)
        good = files(live, 0, revoked=leaf)
    words = {"early": "not valid yet", "stranger": "not issued by a trusted CA|signature"}
    with pytest.raises(AuthenticationError, match=words.get(case, case)):
        shake(session(bad, server=False), session(good, server=True))
    with pytest.raises(AuthenticationError, match=words.get(case, case)):
        shake(session(good, server=False), session(bad, server=True))


def test_nothing_older_than_tls_1_3_is_spoken(live: Authority) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = old.wrap_bio(into, out)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(ProtocolError, match="failed in the TLS handshake"):
        session(files(live, 0), server=True).receive(out.read())


def test_a_peer_without_a_certificate_is_refused(live: Authority) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = bare.wrap_bio(into, out)
    server = session(files(live, 0), server=True)

    def talk() -> None:
        for _ in range(4):
            with suppress(ssl.SSLWantReadError, ssl.SSLError):
                client.do_handshake()
            server.receive(out.read())
            into.write(server.outgoing())

    with pytest.raises(ProtocolError, match="handshake"):
        talk()
    assert not server.established


def test_an_oversized_handshake_is_refused(live: Authority) -> None:
    server = session(files(live, 0), server=True)
    hello = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(16375)  # a ClientHello without end

    def pour() -> None:
        for _ in range(MAX_HANDSHAKE_BYTES // len(hello) + 2):
            server.receive(hello)

    with pytest.raises(ProtocolError):
        pour()


def test_names_in_certificates_are_judged(live: Authority) -> None:
    def refuse(der: bytes) -> None:
        judge(5, der)

    context = make_context(files(live, 0), server=True)
    server = TlsSession(context, 5, refuse, server=True)
    with pytest.raises(AuthenticationError, match="for rank 1, not for rank 5"):
        shake(session(files(live, 1), server=False), server)


def test_keys_reach_no_disk(live: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []
    load = tls_session._load
    monkeypatch.setattr(
        tls_session, "_load", lambda data, use: load(data, lambda p: (paths.append(p), use(p)))
    )
    make_context(files(live, 0), server=True)
    assert paths
    assert all(path.startswith("/proc/self/fd/") for path in paths)


def test_a_group_key_never_seals_twice_under_one_nonce() -> None:
    key = GroupKey(bytes(32), 0, 1)
    key.seal(0, b"a")
    key.seal(5, b"b")
    for number in (0, 3, 5):
        with pytest.raises(InternalError, match="nonce would repeat"):
            key.seal(number, b"c")
    with pytest.raises(InternalError, match="32 bytes"):
        GroupKey(bytes(16), 0, 1)


def test_a_slot_of_another_epoch_does_not_open() -> None:
    sealed = GroupKey(bytes(32), 0, 1).seal(7, b"slot")
    assert GroupKey(bytes(32), 0, 2).open(7, 1, sealed) == b"slot"
    for epoch, number, sender in ((1, 7, 1), (0, 8, 1), (0, 7, 2)):
        with pytest.raises(ProtocolError, match=f"rank {sender}"):
            GroupKey(bytes(32), epoch, 3).open(number, sender, sealed)
