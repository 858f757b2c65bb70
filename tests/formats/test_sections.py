"""What stands in a checkpoint beside the state: read back as written, covered by a digest."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.adapters.hdf5_sections import read_sections, write_sections
from morsr_mpi.base.errors import InputError
from morsr_mpi.storage.sections import NOBODY, FlightTask, Sections, Worker

NUMBERS = st.integers(0, 2**62)
RANKS = st.integers(0, 65535)
DIGESTS = st.binary(min_size=32, max_size=32)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
FLIGHT = st.builds(
    FlightTask,
    NUMBERS,
    NUMBERS,
    DIGESTS,
    RANKS | st.just(NOBODY),
    NUMBERS,
    st.none() | st.binary(max_size=60),
)
WORKERS = st.builds(
    Worker, RANKS, st.sampled_from(("works", "absent", "gone")), NUMBERS, NUMBERS, NUMBERS
)
SECTIONS = st.builds(
    Sections,
    st.lists(FLIGHT, max_size=5).map(tuple),
    st.lists(WORKERS, max_size=5).map(tuple),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.lists(RANKS, max_size=5).map(tuple),
    NUMBERS,
    DIGESTS,
    DIGESTS,
    TEXTS,
    st.lists(TEXTS.filter(bool), max_size=4).map(tuple),
)


@given(sections=SECTIONS)
def test_read_back_as_written(sections: Sections) -> None:
    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        write_sections(file, sections)
        found = read_sections(file, Path("x"))
    assert found == sections
    assert found is not None
    assert found.results() == {t.task: t.result for t in sections.flight if t.result is not None}


def example() -> Sections:
    flight = (
        FlightTask(3, 0, bytes(32), 1, 2, b"result"),
        FlightTask(3, 1, b"\1" * 32, 0, 1, None),
    )
    return Sections(flight, (Worker(0, "works", 5, 6, 7),), members=(0, 1), failures=("rank 2",))


@pytest.mark.parametrize(
    "name", ["flight/results", "flight/rank", "workers/work", "consensus/view", "journal/records"]
)
def test_every_part_is_covered_by_the_digest(name: str) -> None:
    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        write_sections(file, example())
        file[name][0] += 1
        with pytest.raises(InputError, match="damaged"):
            read_sections(file, Path("x"))


def test_columns_that_do_not_fit_are_refused() -> None:
    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        write_sections(file, example())
        file["flight/bytes"][0] = 2
        with pytest.raises(InputError, match="different number"):
            read_sections(file, Path("x"))


def test_a_file_of_version_1_0_has_none() -> None:
    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        assert read_sections(file, Path("x")) is None
