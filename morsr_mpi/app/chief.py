"""What the chief of a job keeps: run directory, fence, journal file, checkpoints, the story told.

Every rank has one of these; it does something on the chief only, and can be taken up by another
rank when the chief is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from morsr_mpi.adapters.envelope_files import EnvelopeKeys
from morsr_mpi.adapters.journal_file import FileJournal
from morsr_mpi.app.admission import Admission
from morsr_mpi.app.audit import seal_entries
from morsr_mpi.app.environment import launch_columns
from morsr_mpi.app.fence import Fence
from morsr_mpi.app.journal import JobJournal, ends_in_seal, finish_exactly, pulses_of, take_over
from morsr_mpi.app.load import FINISHED, STOPPED, LoadMeter, decisions, write_load
from morsr_mpi.app.narrator import Narrator, keep_credentials
from morsr_mpi.app.progress import ProgressLike, Reporter, ReporterLike
from morsr_mpi.app.records import Records
from morsr_mpi.app.resume import Start, find_start
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.settings import Settings
from morsr_mpi.app.signals import Requests
from morsr_mpi.app.standing import sections_of
from morsr_mpi.app.task_ledger import settle_segments
from morsr_mpi.app.telemetry import Telemetry, standing_of
from morsr_mpi.base.errors import ExcludedError, UsageError
from morsr_mpi.base.ports import Clock
from morsr_mpi.node.core import Node
from morsr_mpi.node.regroup import Group
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.provenance.bodies import Seal, parse
from morsr_mpi.provenance.chain import Chain, ChainPoint
from morsr_mpi.provenance.records import decode_record
from morsr_mpi.provenance.scaling import Scaling
from morsr_mpi.search.state import Search
from morsr_mpi.storage.sections import Sections


class Chief:
    """Of one rank; `active` while it is the chief."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        quiet: bool,
        size: int = 1,
        make: Callable[..., ReporterLike] = Reporter,
    ) -> None:
        """size: ranks of the job; make: makes what tells people how it goes."""
        self.active = False
        self.telemetry = Telemetry(settings.run_dir, clock, size, settings.trace, self.warn)
        self.run: RunDirectory | None = None
        self.records: Records | None = None
        self.narrator: Narrator | None = None
        self.start = Start()
        self.sealed = False
        #: Of envelopes for checkpoints, on every rank: each may become the chief.
        self.keys: EnvelopeKeys | None = None
        self.journal = JobJournal(self.warn)
        self._settings = settings
        self._clock = clock
        self._quiet = quiet
        self._make = make
        self._fence: Fence | None = None
        self._made = False
        self._load = LoadMeter()

    # --- the start -------------------------------------------------------------------------
    def open_run_dir(self, *, again: bool) -> None:
        """Make the run directory, or open that of the run to resume.

        again: the start is taken once more after a loss, so a directory that the job's former
        chief has just made is ours.
        """
        self.active = True
        path = self._settings.run_dir
        if path is None or self._made:
            return
        if self._settings.resume:
            self.run = RunDirectory.reopen(path)
        elif again and RunDirectory(path).is_fresh():
            self.run = RunDirectory(path)
        else:
            self.run = RunDirectory.create(path)
        self._made = True

    def discard(self) -> None:
        """Remove a run directory made for a problem that turned out to be none."""
        if self.active and self.run is not None and not self._settings.resume:
            self.run.discard()
            self.run = None

    def find_start(self, problem: QuadraticProblem) -> Start:
        """Return where a resumed run starts."""
        assert self.run is not None
        self.start = find_start(self.run, problem, self._settings.search_options(), self.keys)
        self.run.take_over()
        return self.start

    def open_journal(self, token: str, committed: int) -> ChainPoint:
        """Claim the directory, begin to write the journal; return where it stands.

        token: names the job. Raises as `journal.take_over`, and UsageError where the directory
        cannot be written.
        """
        if self.run is None:
            return ChainPoint()
        recent = tuple(self.journal.recent)
        try:
            if self._fence is None:
                self._fence = Fence.claim(self.run.fence, token)
            file, point, last = take_over(self.run.journal, recent, committed)
        except OSError as exc:
            raise UsageError(
                f"run directory {self.run.path} cannot be written ({exc.strerror or exc}); what is "
                "in it stands"
            ) from exc
        self._begin(file, isinstance(last, Seal) and not self._settings.resume)
        return point

    def narrate(self, ranks: int, problem: QuadraticProblem) -> None:
        """Begin to tell how the run goes."""
        self.narrator = Narrator(ranks, self.run, launch_columns(), self._quiet, self._make)
        self.narrator.begin(problem)

    def tell_identities(self, admission: Admission, launcher: str) -> None:
        """Say whose identity is not established, and keep what proved the others'.

        launcher: what started the ranks; it may have left them without fault tolerance.
        """
        world = admission.world
        if world.size > 1 and not world.fault_tolerant and self.narrator is not None:
            self.narrator.warn_of_no_fault_tolerance(launcher)
        if admission.security == "tls" and not admission.established:
            self.note("tls with certificates of this run: identity not established (give --keys)")
        if self.run is not None:
            keep_credentials(self.run, admission.credentials, admission.record)

    def narrate_again(self, ranks: int) -> None:
        """Go on telling in another's place."""
        self.narrator = Narrator(ranks, self.run, launch_columns(), self._quiet, self._make)

    # --- the chief is lost -----------------------------------------------------------------
    def succeed(
        self, token: str, committed: int, restarts: int, *, ended: bool
    ) -> ChainPoint | None:
        """Go on as chief in another's place; return where the journal stands, None without one.

        ended: the search is over, the journal complete up to its end.
        """
        self.active = True
        self.start.restarts = restarts
        if self._settings.run_dir is None:
            return None
        self.run = RunDirectory(self._settings.run_dir)
        if not ended and ends_in_seal(self.run.journal):
            raise ExcludedError("the run has ended without this rank")
        self._fence = Fence.claim(self.run.fence, token)
        recent = tuple(self.journal.recent)
        if ended:
            file, last = finish_exactly(self.run.journal, recent)
            self._begin(file, isinstance(last, Seal))
            return None
        file, point, _ = take_over(self.run.journal, recent, committed)
        self._begin(file, False)
        return point

    def catch_up(self, point: ChainPoint, records: Iterable[bytes], committed: int) -> ChainPoint:
        """As a chief that was behind: add the pulses it missed; return where the journal stands."""
        chain = Chain(point)
        missed = pulses_of(records)
        first = 1 + max(pulses_of(self.journal.recent), default=-1)
        for number in range(first, committed):
            if number in missed:
                self.journal.append(chain.append(missed[number]))
        return chain.point

    def remember(self, records: Iterable[bytes]) -> None:
        """Take in the last records of a node whose others are lost; write them as chief."""
        if self.superseded():
            self.journal.recent.extend(records)
            return
        for record in records:
            self.journal.append(record)

    def resign(self) -> None:
        """Another rank is the chief now: touch nothing any more."""
        self.active = False
        self.journal.resign()
        if self.records is not None:
            self.records.drop()
            self.records = None
        if self.narrator is not None:
            self.narrator.close()
            self.narrator = None
        self._fence = None

    def superseded(self) -> bool:
        """Whether another rank of our own job has become chief."""
        return self._fence is not None and self._fence.own()

    def _begin(self, file: FileJournal, sealed: bool) -> None:
        assert self._fence is not None
        self.journal.open(file, self._fence)
        self.sealed = sealed

    # --- while the search goes on ----------------------------------------------------------
    def keep(self, search: Search, describe: Callable[[Search], SolveResult]) -> None:
        """Begin to write results and checkpoints; the first checkpoint is made at once."""
        if not self.active or self.run is None or self.records is not None:
            return
        assert self._fence is not None
        self.records = Records(
            self.run,
            self._clock,
            self._settings.checkpoint_every,
            describe,
            self.warn,
            self._fence,
            self.journal.sync,
            self.keys,
            self.telemetry.checkpoint,
        )
        self.records.first(search)

    def go_back(self, search: Search) -> None:
        """The run goes back to a state: no checkpoint of a later one is to be resumed from."""
        if self.records is not None:
            self.records.go_back(search)

    def look(self, node: Node, search: Search, group: Group, requests: Requests) -> None:
        """Write what is due or asked for, and learn how long that takes."""
        wanted = requests.take_checkpoint()
        if self.records is not None:

            def sections() -> Sections:
                return sections_of(node, group, search.options, self.start.notes)

            self.records.look(search, sections, node.certified, wanted)
            requests.reserve = max(requests.reserve, self.records.longest)
            now = self._clock.now()
            lost = len(group.gone)
            self.telemetry.merge(now, lambda: standing_of(search, lost), self.start.restarts)
            load, run = self._load.look(now, node), self.run
            if load is not None and run is not None:
                self.records.submit("load.json", lambda: write_load(run, load))

    def record_decisions(self, node: Node) -> None:
        """Put the decisions about the job's size that the journal lacks at its end."""
        if self.run is None or not self.active:
            return
        self.journal.flush()
        records = self.journal.records()
        for position in range(node.chain.point.count, len(records)):
            # A chief before us has begun with this.
            node.chain.append(parse(decode_record(records[position], position)))
        known = sum(decode_record(data, i).kind == Scaling.KIND for i, data in enumerate(records))
        for decision in decisions(self.run)[known:]:
            self.journal.append(node.chain.append(decision))

    def tell_load(self, node: Node, *, stopped: bool) -> None:
        """Leave word that the job has ended."""
        load = self._load.ended(STOPPED if stopped else FINISHED, node)
        if load is not None and self.run is not None:
            with contextlib.suppress(OSError):
                write_load(self.run, load)

    def append_seal(self, node: Node, size: int, digest: bytes) -> None:
        """Seal result.h5, of these bytes, and all that lies in ledger and evidence.

        The node's own group has completed its segments of task records; others are settled.
        """
        files = [("result.h5", size, digest)]
        if self.run is not None:
            settle_segments(self.run, node.run_id)
            files += seal_entries(self.run)
        self.journal.append(node.seal(files))
        self.sealed = True

    def keep_evidence(self, name: str, data: bytes) -> None:
        """Write evidence against a rank, before the seal, which names it."""
        if self.active and self.run is not None and not self.sealed:
            self.run.keep_evidence(name, data)

    def note(self, text: str) -> None:
        """Tell a line, if there is one, and log it."""
        if text and self.narrator is not None:
            self.narrator.note(text)

    def warn(self, text: str) -> None:
        """Tell a warning once, and keep it for the result's list; called from any thread."""
        if text not in self.start.notes:
            self.start.notes.append(text)
            self.telemetry.fail(text)
            if self.narrator is not None:
                self.narrator.warn(text)

    def tell_end(
        self, node: Node, progress: ProgressLike, verdict: str, stopped: str, cost: str
    ) -> None:
        """Tell how the run ended, why early if it did, and what it cost."""
        if self.narrator is None:
            return
        self.narrator.meet(node, self.start)
        text = f"stopped ({stopped})" if stopped else verdict
        self.narrator.end(self._clock.now(), progress, text, node)
        self.narrator.note(cost)
        if stopped and self.run is not None:
            self.narrator.note("go on with the same command and --resume")
