"""Task records: what is written is read, whatever is changed in a segment is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import digest_of, sha256
from morsr_mpi.base.errors import TamperError
from morsr_mpi.base.ids import computation_id, task_id
from morsr_mpi.base.version import ALGORITHM_VERSION
from morsr_mpi.provenance.bodies import Pulse
from morsr_mpi.provenance.groups import RunGroup
from morsr_mpi.provenance.merkle import leaf_hash, reference_root, root_of
from morsr_mpi.provenance.task_audit import TaskAudit
from morsr_mpi.provenance.tasks import SegmentHeader, SegmentWriter, TaskRecord, verify_items
from morsr_mpi.search.tasks import Task
from morsr_mpi.security.ed25519 import Ed25519Signer

PROBLEM, RUN = sha256(b"problem"), sha256(b"run")
SIGNER = Ed25519Signer(b"\1" * 32)
WIDTH = 4


def task(commit: int, place: int) -> Task:
    return Task("prove", place, 0, 1.5, ((), 3, commit))


def record(commit: int, place: int) -> TaskRecord:
    t = task(commit, place)
    result = sha256(b"result" + t.task_id)
    return TaskRecord(
        computation_id(PROBLEM, t.task_id), t.parameters, commit, place, commit, result
    )


def verify(data: bytes, signature: bytes) -> bool:
    return SIGNER.verify(SIGNER.public_key, data, signature)


def writer(rank: int = 0) -> SegmentWriter:
    return SegmentWriter(SegmentHeader(RUN, rank, PROBLEM, ALGORITHM_VERSION), SIGNER.sign)


def segment(batches: int = 3, rank: int = 0, ranks: int = 1) -> list[bytes]:
    """Batches of two commits each; a rank has every `ranks`-th place."""
    w = writer(rank)
    items = [w.header.encode()]
    for b in range(batches):
        places = range(rank, WIDTH, ranks)
        records = [record(c, p).encode() for c in (2 * b, 2 * b + 1) for p in places]
        items += w.batch(2 * b, 2 * b + 2, records, 1000 + b)
    return items


def group(pulses: int = 6, ranks: int = 1, complete: bool = True) -> RunGroup:
    found = RunGroup(RUN, 0, "sign", (SIGNER.public_key,) * ranks, tuple(range(ranks)), 0, 0)
    for p in range(pulses):
        tasks = sha256(b"".join(task(p, i).task_id for i in range(WIDTH)))
        results = b"".join(record(p, i).result for i in range(WIDTH))
        givers = b"".join((i % ranks).to_bytes(2, "big") for i in range(WIDTH))
        found.pulses[p] = Pulse(0, p, tasks, results, givers, sha256(b"s"))
    found.certified = set(found.pulses)
    found.complete = complete
    return found


def audit(items: list[list[bytes]], of: RunGroup, algorithm: int = ALGORITHM_VERSION) -> TaskAudit:
    found = TaskAudit(of, PROBLEM, algorithm)
    for rank, one in enumerate(items):
        header, batches = verify_items(f"s{rank}", one, verify)
        found.begin(f"s{rank}", header)
        for batch in batches:
            found.take(f"s{rank}", rank, batch)
    found.finish()
    return found


def test_ids_are_digests_of_canonical_values() -> None:
    t = task(1, 2)
    fields = ("morsr-task", 9, t.kind, t.target, t.part, t.cutoff, t.body)
    assert task_id(9, t.parameters) == digest_of(*fields)
    assert computation_id(PROBLEM, t.task_id) == digest_of("morsr-computation", PROBLEM, t.task_id)
    assert Task.from_parameters(t.parameters) == t
    with pytest.raises(ValueError, match="five"):
        task_id(ALGORITHM_VERSION, encode((1, 2)))


@pytest.mark.parametrize("size", range(20))
def test_the_fast_root_is_that_of_the_definition(size: int) -> None:
    leaves = [leaf_hash(bytes([i])) for i in range(size)]
    assert root_of(leaves) == reference_root(leaves)


numbers = st.integers(0, 2**64 - 1) | st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32])


@given(st.binary(max_size=400), numbers, numbers, numbers)
def test_both_ways_of_parsing_give_the_record(
    parameters: bytes, commit: int, place: int, planned: int
) -> None:
    one = TaskRecord(sha256(b"c"), parameters, commit, place, planned, sha256(b"r"))
    assert TaskRecord.parse(one.encode()) == one == TaskRecord.parse_slowly(one.encode())


@given(st.data())
def test_both_ways_of_parsing_refuse_the_same(data: st.DataObject) -> None:
    good = record(300, 70000).encode()
    at = data.draw(st.integers(0, len(good)))
    kind = data.draw(st.sampled_from(["flip", "cut", "more", "insert", "head"]))
    some = data.draw(st.binary(min_size=1, max_size=9))
    wrong = {
        "flip": bytes(good[i] ^ (some[0] if i == at else 0) for i in range(len(good))),
        "cut": good[:at],
        "more": good + some,
        "insert": good[:at] + some + good[at:],
        "head": good[:3] + good[3:].replace(b"\x19\x01\x2c", b"\x1a\0\0\x01\x2c"),
    }[kind]

    def parsed(way: Callable[[bytes], TaskRecord]) -> TaskRecord | None:
        try:
            return way(wrong)
        except ValueError:
            return None

    assert parsed(TaskRecord.parse) == parsed(TaskRecord.parse_slowly)


def test_a_segment_is_read_as_it_was_written() -> None:
    header, batches = verify_items("s", segment(), verify)
    assert header == SegmentHeader(RUN, 0, PROBLEM, ALGORITHM_VERSION)
    assert [r for b in batches for r in b.records] == [
        record(c, p) for c in range(6) for p in range(WIDTH)
    ]
    assert [(b.root.number, b.root.first, b.root.time) for b in batches] == [
        (0, 0, 1000),
        (1, 2, 1001),
        (2, 4, 1002),
    ]


@given(st.data())
def test_any_changed_bit_of_a_segment_is_found(data: st.DataObject) -> None:
    items = segment(2)
    which = data.draw(st.integers(0, len(items) - 1))
    bit = data.draw(st.integers(0, 8 * len(items[which]) - 1))
    changed = bytearray(items[which])
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TamperError):
        audit([[*items[:which], bytes(changed), *items[which + 1 :]]], group(4))


@given(st.data())
def test_items_left_out_doubled_or_exchanged_are_found(data: st.DataObject) -> None:
    items = segment(2)
    a = data.draw(st.integers(0, len(items) - 1))
    b = data.draw(st.integers(0, len(items) - 1).filter(lambda i: i != a))
    how = data.draw(st.sampled_from(["out", "double", "exchange"]))
    if how == "out":
        wrong = items[:a] + items[a + 1 :]
    elif how == "double":
        wrong = [*items[:a], items[a], *items[a:]]
    else:
        wrong = list(items)
        wrong[a], wrong[b] = wrong[b], wrong[a]
    with pytest.raises(TamperError):
        audit([wrong], group(4))


def test_records_of_several_ranks_make_up_the_pulses() -> None:
    found = audit([segment(3, r, 2) for r in range(2)], group(6, 2))
    assert (found.recorded, found.missing) == (24, {})


def test_missing_records_are_an_error_where_the_run_ended_in_order() -> None:
    with pytest.raises(TamperError, match="the segment of rank 1 is missing"):
        audit([segment(3, 0, 2)], group(6, 2))
    with pytest.raises(TamperError, match="a record of rank 1 is missing"):
        audit([segment(3, 0, 2), segment(2, 1, 2)], group(6, 2))
    lost = group(6, 2, complete=False)
    found = audit([segment(3, 0, 2), segment(2, 1, 2)], lost)
    assert found.missing == {1: 4}
    # Not at the end of what a rank wrote: a batch that it signed would have had it.
    w = writer(1)
    gap = [w.header.encode(), *w.batch(4, 6, [record(4, 1).encode()], 1)]
    with pytest.raises(TamperError, match="a record of rank 1 is missing"):
        audit([segment(3, 0, 2), gap], lost)


def forged(change: Callable[[TaskRecord], TaskRecord]) -> list[bytes]:
    """A segment whose rank itself signed a wrong record."""
    w = writer()
    records = [change(record(0, p)) if p == 2 else record(0, p) for p in range(WIDTH)]
    return [w.header.encode(), *w.batch(0, 1, [r.encode() for r in records], 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r._replace(result=sha256(b"x")), "another result"),
        (lambda r: r._replace(place=9), "no task of that commit"),
        (lambda r: r._replace(place=1), "another result"),
        (lambda r: r._replace(planned=3), "planned by another pulse"),
        (lambda r: r._replace(computation=sha256(b"x")), "id that is not"),
        (lambda r: r._replace(parameters=task(7, 7).parameters), "id that is not"),
        (
            lambda r: r._replace(
                parameters=task(7, 7).parameters,
                computation=computation_id(PROBLEM, task(7, 7).task_id),
            ),
            "another task than the journal's",
        ),
    ],
)
def test_a_record_that_the_journal_contradicts_is_named(
    change: Callable[[TaskRecord], TaskRecord], message: str
) -> None:
    assert audit([forged(lambda r: r)], group(1)).recorded == WIDTH
    with pytest.raises(TamperError, match=message):
        audit([forged(change)], group(1))


def test_segments_of_another_run_rank_problem_or_algorithm_are_refused() -> None:
    sound = segment(3)
    with pytest.raises(TamperError, match="another problem or algorithm"):
        audit([sound], group(), algorithm=ALGORITHM_VERSION + 1)
    with pytest.raises(TamperError, match="of a group the journal does not have"):
        audit([sound], replace(group(), run=sha256(b"other")))
    twice = TaskAudit(group(), PROBLEM, ALGORITHM_VERSION)
    header, _ = verify_items("s", sound, verify)
    twice.begin("a", header)
    with pytest.raises(TamperError, match="second segment"):
        twice.begin("b", header)


def test_another_commit_or_contributor_than_the_journals_is_refused() -> None:
    with pytest.raises(TamperError, match="does not have"):
        audit([segment(3)], group(4))
    with pytest.raises(TamperError, match="the journal names another"):
        audit([segment(3)], group(6, 2))


def test_dependencies_reach_as_far_as_the_lag() -> None:
    assert [record(5, 0)._replace(planned=p).depends_on(2) for p in (0, 2, 3, 7)] == [0, 0, 1, 5]
