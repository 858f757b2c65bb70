"""`morsr inspect` of a run directory: how the run stands, and who did what."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from struct import unpack

from morsr_mpi.adapters.hdf5_checkpoint import load_checkpoint, newest_checkpoint
from morsr_mpi.adapters.hdf5_result import load_result, load_run
from morsr_mpi.adapters.hdf5_sealed import SealedError, sealed_header
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.account import summary
from morsr_mpi.app.inspect import Findings, describe_solution, frontier_text
from morsr_mpi.app.inspect_ledger import describe_known, describe_records, describe_replicas
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.verifiers import signer_of
from morsr_mpi.base.errors import InputError, MorsrError, TamperError
from morsr_mpi.node.certified import verify_certificates
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.provenance.bodies import Body, Epoch, Genesis, Pulse, Regroup, Seal, fingerprint
from morsr_mpi.provenance.chain import VerifiedChain, verify_chain
from morsr_mpi.provenance.scaling import Scaling
from morsr_mpi.provenance.steps import Step
from morsr_mpi.search.outline import open_chambers

#: Ranks listed one by one.
SHOWN_RANKS = 32


def inspect_run(path: Path, *, check: bool) -> Findings:
    """Explain a run directory. check: verify digests of all its parts and the seal, too.

    What is wrong with it becomes lines of `Findings.wrong`. Raises InputError for a
    directory that is no run directory.
    """
    run = RunDirectory(path)
    if not run.ledger.is_dir() and not run.result.exists():
        raise InputError(
            f"{path} is no run directory of morsr (neither result.h5 nor ledger/ is in it)"
        )
    found = Findings()
    found.add("run directory", path)
    result = _result(found, run)
    chain = _journal(found, run, check)
    _checkpoints(found, run, check)
    if check and chain is not None:
        _seal(found, run, chain)
        if result is not None:
            _agreement(found, result, chain)
    if run.stop_file.exists():
        found.add("STOP", "the file STOP is there: a run that is going will stop")
    return found


def _result(found: Findings, run: RunDirectory) -> SolveResult | None:
    """Add what result.h5 says."""
    if not run.result.exists():
        found.add("result", "none yet")
        return None
    try:
        result = load_result(run.result)
        story = load_run(run.result)
    except InputError as exc:
        found.wrong.append(str(exc))
        return None
    found.add("problem", result.problem_digest)
    found.add("options", result.options_digest)
    state = story.get("state", "finished")
    found.add(
        "state",
        f"{state}; {result.ranks} rank{'s' if result.ranks != 1 else ''}, "
        f"{result.wall_seconds:.2f} s, restarts {result.restarts}",
    )
    cost = summary(story)
    if cost:
        found.add("cost", cost)
    describe_known(found, story)
    describe_replicas(found, story)
    for text in result.failures:
        found.add("failure", text)
    describe_solution(found, result.solution, result.tolerance)
    return result


def _journal(found: Findings, run: RunDirectory, check: bool) -> VerifiedChain | None:
    """Add the summary of the journal; its chain is always verified, it is what links all."""
    path = run.journal
    if not path.exists():
        found.add("journal", "none")
        return None
    try:
        chain = verify_chain(read_records(path))
    except (TamperError, OSError) as exc:
        found.wrong.append(f"{path}: {exc}")
        return None
    genesis = chain.bodies[0]
    assert isinstance(genesis, Genesis)
    found.add(
        "genesis",
        f"{fingerprint(chain.point.genesis)} ({chain.point.genesis.hex()}), morsr "
        f"{genesis.software}, security {genesis.security}",
    )
    pulses = chain.pulses()
    tasks = sum(len(pulse.contributors) // 2 for pulse in pulses)
    epochs = sum(
        isinstance(body, Epoch) and not isinstance(before, Regroup)
        for before, body in pairwise(chain.bodies)
    )
    seal = "sealed" if chain.sealed else "not sealed"
    found.add(
        "journal",
        f"{chain.point.count} records, {len(pulses)} pulses, {tasks} tasks, resumed {epochs} "
        f"time{'s' if epochs != 1 else ''}, {seal}; the chain is sound",
    )
    try:
        votes = verify_certificates(chain, signer_of)
    except TamperError as exc:
        found.wrong.append(f"{path}: {exc}")
    else:
        open_ = f", {votes.uncertified} pulses without" if votes.uncertified else ""
        found.add(
            "votes",
            f"{votes.certificates} certificates of a quorum for {votes.certified} pulses{open_}; "
            + ("all valid" if genesis.security != "off" else "unsigned, so worth nothing"),
        )
    describe_records(found, run, chain, check=check)
    groups = [body for body in chain.bodies if isinstance(body, Regroup)]
    if groups:
        found.add("regrouped", f"{len(groups)} time{'s' if len(groups) != 1 else ''}")
        for rank, why in dict(item for group in groups for item in group.gone).items():
            found.add("lost", f"rank {rank} {why}")
    for body in chain.bodies:
        if isinstance(body, Scaling):
            found.add("scaling", scaling_text(body))
    counts = tasks_of_job(chain.bodies)
    for rank, count in sorted(counts.items())[:SHOWN_RANKS]:
        found.add(f"rank {rank}", f"{count} tasks")
    if len(counts) > SHOWN_RANKS:
        few, many = min(counts.values()), max(counts.values())
        found.add("all ranks", f"{len(counts)} ranks, {few} to {many} tasks each")
    return chain


def scaling_text(body: Scaling) -> str:
    """Return a decision about the size of the job on one line."""
    at = datetime.datetime.fromtimestamp(body.at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{at} {body.before} -> {body.after} {body.unit}, {body.action}: {body.reason}"


def tasks_by_rank(pulses: Sequence[Pulse | Step]) -> dict[int, int]:
    """Return how many tasks each rank has contributed."""
    counts: Counter[int] = Counter()
    for pulse in pulses:
        data = pulse.contributors
        counts.update(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    return dict(counts)


def tasks_of_job(bodies: Sequence[Body]) -> dict[int, int]:
    """Return how many tasks each rank has contributed, by its number in its job.

    Contributors count in the order of their group's members; pulses that a later epoch commits
    again count for that one.
    """
    members: dict[int, tuple[int, ...]] = {}
    last: dict[int, Pulse | Step] = {}
    group: tuple[int, ...] = ()
    before: Body | None = None
    for body in bodies:
        if isinstance(body, Regroup):
            group = unpack(f">{len(body.ranks) // 2}H", body.ranks)
        elif isinstance(body, Epoch) and not isinstance(before, Regroup):
            group = ()
        elif isinstance(body, Pulse | Step):
            last[body.pulse], members[body.pulse] = body, group
        before = body
    counts: Counter[int] = Counter()
    for number, pulse in last.items():
        for member, count in tasks_by_rank([pulse]).items():
            known = members[number]
            counts[known[member] if member < len(known) else member] += count
    return dict(counts)


def _checkpoints(found: Findings, run: RunDirectory, check: bool) -> None:
    """Add the checkpoints; check: all of them are loaded, which verifies their digests."""
    if not run.checkpoints.is_dir():
        return
    names = sorted(path.name for path in run.checkpoints.glob("checkpoint-*.h5"))
    if not names:
        found.add("checkpoints", "none")
        return
    try:
        newest = newest_checkpoint(run.checkpoints, found.wrong)
    except SealedError:
        _sealed_checkpoints(found, [run.checkpoints / name for name in names])
        return
    except MorsrError as exc:
        found.wrong.append(str(exc))
        return
    if newest is not None:
        path, checkpoint = newest
        found.add(
            "checkpoints", f"{len(names)}; newest sound: {path.name}, {checkpoint.pulse} pulses"
        )
        found.add("frontier", frontier_text(open_chambers(checkpoint.state)))
        sections = checkpoint.sections
        if sections is not None and sections.flight:
            done = sum(task.result is not None for task in sections.flight)
            found.add("in flight", f"{len(sections.flight)} tasks, {done} of them finished")
    if check:
        for name in names:
            try:
                load_checkpoint(run.checkpoints / name)
            except InputError as exc:
                if not any(str(exc) in text for text in found.wrong):
                    found.wrong.append(str(exc))


def _sealed_checkpoints(found: Findings, paths: list[Path]) -> None:
    """Say whom sealed checkpoints are for; their signatures are checked."""
    for path in paths:
        try:
            said = sealed_header(path)
        except InputError as exc:
            found.wrong.append(str(exc))
        else:
            key = said.recipient.hex()[:16]
            found.add("checkpoint", f"{path.name}, sealed: {said.suite}, for key {key}")


def _seal(found: Findings, run: RunDirectory, chain: VerifiedChain) -> None:
    """Compare the files named by the seal with those in the directory."""
    seal = chain.bodies[-1]
    if not isinstance(seal, Seal):
        return
    for name, size, digest in seal.files:
        path = run.path / name
        try:
            data = path.read_bytes()
        except OSError:
            found.wrong.append(f"{path} is named by the seal and cannot be read")
            continue
        known = any(text.startswith(f"{path} ") for text in found.wrong)
        if not known and (len(data) != size or hashlib.sha256(data).digest() != digest):
            found.wrong.append(f"{path} is not the file that was sealed")
    found.add("seal", f"{len(seal.files)} file{'s' if len(seal.files) != 1 else ''} looked at")


def _agreement(found: Findings, result: SolveResult, chain: VerifiedChain) -> None:
    """Compare what result and journal say about the same run."""
    genesis = chain.bodies[0]
    assert isinstance(genesis, Genesis)
    for what, mine, other in (
        ("problem digest", result.problem_digest, genesis.problem.hex()),
        ("options digest", result.options_digest, genesis.options.hex()),
        ("fingerprint", result.fingerprint, fingerprint(chain.point.genesis)),
    ):
        if mine != other:
            found.wrong.append(f"result.h5 and the journal name different values of {what}")
