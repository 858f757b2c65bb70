"""What others may ask of a node: keys, journal, traffic, what is finished."""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ports import SearchMachine, Signer, TaskLike
from morsr_mpi.node.certifier import Certifier
from morsr_mpi.node.channel import Channel, Traffic
from morsr_mpi.node.claims import ClaimBook
from morsr_mpi.node.fetch import FetchBook
from morsr_mpi.node.pulses import PulseBook
from morsr_mpi.node.records import RecordBook
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.node.startup import Roster
from morsr_mpi.node.stop import append_seal
from morsr_mpi.node.watch import StateWatch
from morsr_mpi.node.work import PulseWork
from morsr_mpi.provenance.bodies import Seal, fingerprint
from morsr_mpi.provenance.chain import Chain


class NodeFacts:
    """The part of a node that only answers. Channel and watch are there once the ranks have met."""

    settings: NodeSettings
    finished: bool
    _signer: Signer
    _roster: Roster | None
    _channel: Channel
    _watch: StateWatch
    _fetch: FetchBook
    _pulses: PulseBook
    _records: RecordBook
    _votes: Certifier
    _claims: ClaimBook
    _work: PulseWork

    @property
    def chain(self) -> Chain:
        """The journal's chain. Raises InternalError before the ranks have met."""
        return self._met().chain

    @property
    def signer(self) -> Signer:
        """What this rank signs with."""
        return self._signer

    @property
    def has_met(self) -> bool:
        """Whether the ranks have met: there are keys and a chain."""
        return self._roster is not None

    @property
    def run_id(self) -> bytes:
        """Digest of the record that opened this group's part of the journal."""
        return self._met().run

    @property
    def fingerprint(self) -> str:
        """Short form of the genesis record's digest."""
        return fingerprint(self.chain.point.genesis)

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """Public key of each rank; empty byte strings where nothing is signed."""
        return self._met().keys

    @property
    def refused(self) -> dict[int, int]:
        """Frames and slots refused, by the rank they came from."""
        return self._channel.refused if self._roster else {}

    @property
    def traffic(self) -> dict[str, Traffic]:
        """What this rank has said so far, by type of message."""
        return self._channel.traffic() if self._roster else {}

    @property
    def expecting(self) -> bool:
        """Whether an answer over point-to-point is on its way: a bad time to sleep long."""
        return self._fetch.waiting > 0

    def finished_results(self, committed: bool = False) -> dict[bytes, bytes]:
        """Return results that this rank computed, by task id: another node need not do so again.

        Those of others it would have to vouch for. committed: those of committed pulses too, as
        far as they are kept.
        """
        found = self._claims.kept() if committed and self._roster is not None else {}
        for pulse in self._pulses.open:
            found.update(pulse.finished(self.settings.rank))
        return found

    @property
    def guilty(self) -> frozenset[int]:
        """Ranks that this rank has found to compute wrongly; they may have left since."""
        return self._votes.guilty if self._roster is not None else frozenset()

    def in_flight(self) -> list[tuple[int, int, TaskLike, int, bytes | None]]:
        """Return tasks planned and not committed: pulse, index, task, member ordered, result.

        The member is -1 before the order has come, the result None before it is here.
        """
        return [
            (pulse.number, index, task, pulse.ranks[index], pulse.peek(index))
            for pulse in self._pulses.open
            for index, task in enumerate(pulse.tasks)
            if not pulse.is_settled(index)
        ]

    @property
    def view(self) -> int:
        """The view of the agreement; its primary is the coordinator."""
        return self._votes.view if self._roster else 0

    @property
    def certified(self) -> int:
        """Pulses that the journal has records of, with those in the state at the start."""
        return self._votes.certified if self._roster else 0

    @property
    def progress_by_rank(self) -> list[tuple[int, int]]:
        """Work units and busy milliseconds of each rank, as it last said."""
        return self._work.progress if self._roster else [(0, 0)] * self.settings.size

    def close_records(self) -> list[bytes]:
        """Return records of commits that are not certified, as this rank has them.

        For a rank that has lost the others: only what is missing in the journal counts of them.
        """
        if self._roster is None:
            return []
        bodies = (*self._votes.give_up(), *self._records.close())
        return [self.chain.append(body) for body in bodies]

    @property
    def claims(self) -> ClaimBook:
        """What this rank checks of the others' results, once the ranks have met."""
        return self._claims

    @property
    def tasks_by_rank(self) -> list[int]:
        """Tasks of certified pulses, by the rank whose result counts."""
        return self._votes.tasks_by_rank if self._roster else [0] * self.settings.size

    def use_search(self, search: SearchMachine) -> None:
        """Plan and commit through something that stands for the same search (it measures time)."""
        self._pulses.search = search

    def seal(self, files: Sequence[tuple[str, int, bytes]]) -> bytes:
        """Return the last record of a finished run: files are (path, bytes, SHA-256).

        Raises InternalError before the run is finished.
        """
        if not self.finished:
            raise InternalError("only a finished run is sealed")
        watch = self._watch
        seal = Seal(watch.committed, watch.state, tuple(sorted(files)))
        return append_seal(self.chain, seal, self.settings.rank, self._signer)

    def _waits(self) -> bool:
        """Whether something should happen here that only the coordinator can bring about."""
        return self._records.waiting or self._work.waits_for_order(self._watch.slowest)

    def _met(self) -> Roster:
        if self._roster is None:
            raise InternalError("the ranks have not met yet")
        return self._roster
