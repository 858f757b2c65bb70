"""Results in few bytes: chambers and points come back, one form each, nonsense is refused."""

from __future__ import annotations

from contextlib import suppress
from struct import pack as struct_pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.errors import InternalError
from morsr_mpi.search.chambers import LINK_BYTES, TILE_BYTES
from morsr_mpi.search.compact import Item, expand, put_numbers, squeeze, take_numbers
from morsr_mpi.search.tasks import TaskResult

_NUMBERS = st.one_of(st.integers(0, 127), st.integers(0, 2**63 - 1))


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    """Packed chambers as `chambers.pack` writes them: each shares what it can."""
    rows: list[Item] = []
    chain: list[bytes] = []
    for _ in range(draw(st.integers(0, 6))):
        shared = draw(st.integers(0, len(chain)))
        new = []
        for _ in range(draw(st.integers(0, 2))):
            coordinates = draw(st.lists(st.integers(-9, 9), min_size=8, max_size=8))
            rank = draw(_NUMBERS).to_bytes(8, "little") if LINK_BYTES > TILE_BYTES else b""
            new.append(struct_pack("<8i", *coordinates) + rank)
        if new and shared < len(chain) and chain[shared] == new[0]:
            new = []
        chain = chain[:shared] + new
        skip = draw(_NUMBERS)
        after = draw(st.sampled_from([b"", bytes(range(32)), bytes(32) + b"\1"]))
        bound = draw(st.floats(allow_nan=False))
        rows.append((shared, b"".join(new), skip, after, bound))
    return rows


@given(items())
def test_chambers_come_back(rows: list[Item]) -> None:
    data = squeeze(rows)
    assert expand(data) == tuple(rows)
    assert squeeze(expand(data)) == data


@given(items(), st.data())
def test_damaged_chambers_are_refused_or_the_one_form_of_others(
    rows: list[Item], data: st.DataObject
) -> None:
    raw = bytearray(squeeze(rows))
    if raw and data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    damaged += data.draw(st.binary(max_size=3))
    with suppress(ValueError):
        assert squeeze(expand(damaged)) == damaged


@given(st.binary(max_size=80))
def test_noise_is_refused_or_the_one_form_of_chambers(data: bytes) -> None:
    with suppress(ValueError):
        assert squeeze(expand(data)) == data


@given(st.lists(_NUMBERS, min_size=1, max_size=9))
def test_numbers_come_back(numbers: list[int]) -> None:
    data = put_numbers(numbers)
    found, end = take_numbers(b"\5" + data + b"\7", 1, len(numbers))
    assert (list(found), end) == (numbers, 1 + len(data))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\0", b"\xff" * 10 + b"\0"])
def test_numbers_that_are_cut_or_padded_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="number"):
        take_numbers(data, 0, 1)


@pytest.mark.parametrize(
    "fields",
    [
        (1, 2.0, b"x" * 5, b"", ()),
        (1, 2.0, b"", b"\1\0\0\0", ()),
        (1, 2.0, b"", (), ()),
        (1, 2.0, bytes(8193), b"", ()),
        (1, 2, b"", b"", ()),
    ],
)
def test_malformed_results_are_refused(fields: tuple[object, ...]) -> None:
    with pytest.raises(InternalError, match="malformed result"):
        TaskResult.from_bytes(encode(fields))
