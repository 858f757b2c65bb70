"""`morsr audit`: is a run directory what the run has left?  Offline; repairs nothing.

The steps come in the order in which each rests on those before it; the first thing that is wrong
ends the audit and is named with its record or file.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from morsr_mpi.adapters.hdf5_problem import load_problem
from morsr_mpi.adapters.hdf5_result import load_result
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.audit_evidence import audit_evidence
from morsr_mpi.app.audit_identity import check_ca, is_ca
from morsr_mpi.app.audit_tasks import audit_tasks
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.verifiers import signer_of
from morsr_mpi.base.config import BLOCK_BYTES
from morsr_mpi.base.errors import InputError, TamperError, UsageError
from morsr_mpi.node.certified import verify_certificates
from morsr_mpi.provenance.bodies import Genesis, Seal, fingerprint
from morsr_mpi.provenance.chain import VerifiedChain, verify_chain
from morsr_mpi.provenance.signatures import check_signatures, key_lists
from morsr_mpi.security.ed25519 import Ed25519Signer

#: Directories of which the seal vouches for every file but the journal, which holds the seal.
SEALED_DIRECTORIES = ("ledger", "evidence")
FINGERPRINT = re.compile(r"[0-9a-f]{12,64}")
KEY_LINE = re.compile(r"(\d+) ([0-9a-f]{64}|)")


@dataclass
class Audit:
    """What was checked, line by line; sealed and trusted: how far the verdict goes."""

    fingerprint: str = ""
    sealed: bool = False
    trusted: bool = False
    lines: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One line."""
        identity = "identity as trusted" if self.trusted else "identity not established"
        state = "consistent" if self.sealed else "consistent so far, not sealed: the run can go on"
        return f"{state}; {identity}"


def audit_run(path: Path, trust: str | None) -> Audit:
    """Check a run directory; trust: a fingerprint, or a file of public keys.

    Raises TamperError naming the first thing that is wrong, UsageError for a trust root that is
    none.
    """
    run = RunDirectory(path)
    audit = Audit()
    if not run.journal.is_file():
        raise TamperError(f"{run.journal} is missing: there is nothing to audit")
    try:
        chain = verify_chain(read_records(run.journal))
    except OSError as exc:
        raise TamperError(f"{run.journal} cannot be read: {exc.strerror or exc}") from None
    if not chain.records:
        raise TamperError(f"{run.journal} is empty")
    audit.fingerprint = fingerprint(chain.point.genesis)
    audit.sealed = chain.sealed
    audit.lines.append(
        f"chain: {chain.point.count} records, {len(chain.pulses())} pulses, each linked to the one "
        "before"
    )
    audit.trusted = check_trust(run, chain, trust, audit.lines)
    verifier = Ed25519Signer(bytes(32))  # verifies only: what it would sign is nobody's
    count = check_signatures(chain, verifier.verify)
    signed = any(any(keys) for keys in key_lists(chain))
    audit.lines.append(
        f"signatures: {count} of seals"
        if signed
        else "signatures: none, the run had --security off"
    )
    votes = verify_certificates(chain, signer_of)
    audit.lines.append(
        f"votes: {votes.certificates} certificates of a quorum for {votes.certified} pulses, "
        f"{votes.uncertified} pulses without"
    )
    if chain.sealed:
        _seal(audit, run, chain)
    audit.lines.append(audit_tasks(run, chain).line)
    audit.lines.append(audit_evidence(run, chain).line)
    _beside(audit, run, chain)
    _result(audit, run, chain)
    return audit


def check_trust(
    run: RunDirectory, chain: VerifiedChain, trust: str | None, lines: list[str] | None = None
) -> bool:
    """Compare the genesis with what the caller knows from elsewhere; whether anything is known.

    lines: get what was found. Raises TamperError where it is something else.
    """
    if trust is None:
        return False
    said = [] if lines is None else lines
    genesis = chain.point.genesis.hex()
    if FINGERPRINT.fullmatch(trust.lower()):
        if not genesis.startswith(trust.lower()):
            raise TamperError(
                f"journal record 0: the genesis is {genesis[:12]}, not {trust[:12].lower()} as "
                "trusted: this is another run, or a forged one"
            )
        said.append("trust: the genesis has the given fingerprint")
    elif is_ca(Path(trust)):
        said.append(check_ca(run, key_lists(chain), Path(trust)))
    else:
        known = _trusted_keys(Path(trust))
        for start, keys in enumerate(key_lists(chain)):
            strangers = [rank for rank, key in enumerate(keys) if key not in known]
            if strangers:
                raise TamperError(
                    f"the key of rank {strangers[0]} at start {start} of the run is not in {trust}"
                )
        said.append(f"trust: every key of the run is in {trust}")
    return True


def _trusted_keys(path: Path) -> set[bytes]:
    """Keys of a file as the run directory's `keys/` holds them: rank and 64 hex digits a line."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(
            f"--trust {path} is no fingerprint (12 to 64 hexadecimal digits), no CA and no file "
            f"of keys that can be read ({exc})"
        ) from None
    keys = set()
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = KEY_LINE.fullmatch(text)
        if found is None:
            raise UsageError(f"--trust {path}: {text[:40]!r} is not a rank and a public key")
        keys.add(bytes.fromhex(found.group(2)))
    keys.discard(b"")
    if not keys:
        raise UsageError(f"--trust {path} holds no public key")
    return keys


def _seal(audit: Audit, run: RunDirectory, chain: VerifiedChain) -> None:
    """Compare the files of the directory with those that the last seal names."""
    seal = chain.bodies[-1]
    assert isinstance(seal, Seal)
    index = chain.records[-1].index
    names = set()
    for name, size, digest in seal.files:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or name in names:
            raise TamperError(
                f"journal record {index}: the seal names the impossible file {name!r}"
            )
        names.add(name)
        path = run.path / name
        try:
            length, found = _digest(path)
        except OSError as exc:
            raise TamperError(
                f"{path} is named by the seal and cannot be read: {exc.strerror or exc}"
            ) from None
        if length != size or found != digest:
            raise TamperError(
                f"{path} is not the file that was sealed: {length} bytes with SHA-256 "
                f"{found.hex()[:12]}, sealed were {size} with {digest.hex()[:12]}"
            )
    for path in sealable(run):
        if path.relative_to(run.path).as_posix() not in names:
            raise TamperError(f"{path} is not named by the seal: it was put there later")
    if "result.h5" not in names:
        raise TamperError(f"journal record {index}: the seal does not name result.h5")
    audit.lines.append(f"seal: {len(names)} file{'s' if len(names) != 1 else ''} as sealed")


def sealable(run: RunDirectory) -> list[Path]:
    """Files below ledger/ and evidence/ but the journal, sorted: what a seal names besides results.

    Links are listed too: a seal never names one.
    """
    found: list[Path] = []
    for part in SEALED_DIRECTORIES:
        folder = run.path / part
        if folder.is_dir():
            found += [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]
    return sorted(path for path in found if path != run.journal)


def _beside(audit: Audit, run: RunDirectory, chain: VerifiedChain) -> None:
    """Compare what lies beside the ledger, which no seal names, with it: keys, and the problem."""
    known = {key for keys in key_lists(chain) for key in keys}
    files = sorted(run.keys.glob("start-*.txt")) if run.keys.is_dir() else []
    for path in files:
        try:
            strangers = _trusted_keys(path) - known
        except UsageError as exc:
            raise TamperError(f"{path} is no list of keys: {exc}") from None
        if strangers:
            raise TamperError(
                f"{path} names the key {next(iter(strangers)).hex()[:12]}, which is not in the "
                "journal: the keys do not match"
            )
    if not run.problem.exists():
        audit.lines.append(f"keys: {len(files)} lists as in the journal")
        return
    try:
        problem = load_problem(run.problem)
    except InputError as exc:
        raise TamperError(str(exc)) from None
    genesis = chain.bodies[0]
    assert isinstance(genesis, Genesis)
    if problem.digest != genesis.problem:
        raise TamperError(f"{run.problem} is not the problem that journal record 0 names")
    audit.lines.append(f"keys: {len(files)} lists as in the journal; problem.h5: as in the genesis")


def seal_entries(run: RunDirectory) -> list[tuple[str, int, bytes]]:
    """Return name, length and SHA-256 of every sealable file. Raises OSError."""
    return [(path.relative_to(run.path).as_posix(), *_digest(path)) for path in sealable(run)]


def _digest(path: Path) -> tuple[int, bytes]:
    if path.is_symlink() or not path.is_file():
        raise OSError(0, "it is no plain file")
    sha, length = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            sha.update(block)
            length += len(block)
    return length, sha.digest()


def _result(audit: Audit, run: RunDirectory, chain: VerifiedChain) -> None:
    """Compare what result.h5 says of its run with the genesis."""
    if not run.result.exists():
        if chain.sealed:
            raise TamperError(f"{run.result} is missing")
        audit.lines.append("result: none yet")
        return
    try:
        result = load_result(run.result)
    except InputError as exc:
        raise TamperError(str(exc)) from None
    genesis = chain.bodies[0]
    assert isinstance(genesis, Genesis)
    for what, mine, other in (
        ("problem digest", result.problem_digest, genesis.problem.hex()),
        ("options digest", result.options_digest, genesis.options.hex()),
        ("fingerprint", result.fingerprint, fingerprint(chain.point.genesis)),
    ):
        if mine != other:
            raise TamperError(f"{run.result} and journal record 0 name different values of {what}")
    audit.lines.append("result: of this run, by problem, options and fingerprint")
