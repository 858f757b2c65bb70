"""`morsr export`: a run directory as a Workflow Run RO-Crate, process profile.

Adds one file, `ro-crate-metadata.json`, that describes the run to software that knows nothing of
morsr: what was computed from what, by which program, when and with what outcome, with the SHA-256
of every file. The run directory is audited first and stays as it is otherwise.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from morsr_mpi.adapters.hdf5_result import load_result
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.audit import Audit, audit_run
from morsr_mpi.app.files import replace_file
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.config import BLOCK_BYTES
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.provenance.bodies import Epoch, Genesis, Regroup
from morsr_mpi.provenance.chain import VerifiedChain, verify_chain

METADATA = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
CRATE = "https://w3id.org/ro/crate/1.1"
SHA256 = "https://w3id.org/ro/terms/workflow-run#sha256"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
#: Parts of a run directory that a crate describes; locks and derived indexes are none.
PARTS = ("checkpoints", "evidence", "keys", "ledger")
KINDS = {
    ".h5": "application/x-hdf5",
    ".txt": "text/plain",
    ".json": "application/json",
    ".safetensors": "application/octet-stream",
}


def export_run(path: Path, *, agent: str | None, licence: str) -> Path:
    """Write the metadata of a run directory; return its path.

    agent: who is responsible for the run; licence: of the data, a URL. Raises TamperError for a
    directory that does not pass the audit, InputError when nothing can be written there or there
    is no result yet.
    """
    run = RunDirectory(path)
    audit = audit_run(path, None)
    if not run.result.exists():
        raise InputError(f"{path} has no result yet: there is nothing to export")
    chain = verify_chain(read_records(run.journal))
    crate = metadata(run, chain, audit, load_result(run.result), agent, licence)
    target = path / METADATA
    try:
        replace_file(target, (json.dumps(crate, indent=1, sort_keys=True) + "\n").encode())
    except OSError as exc:
        raise InputError(f"{target} cannot be written ({exc.strerror or exc})") from None
    return target


def metadata(
    run: RunDirectory,
    chain: VerifiedChain,
    audit: Audit,
    result: SolveResult,
    agent: str | None,
    licence: str,
) -> dict[str, Any]:
    """Return the crate's JSON-LD."""
    genesis = chain.bodies[0]
    assert isinstance(genesis, Genesis)
    files = [_file(run, name) for name in sorted(_names(run))]
    values = _values(genesis, chain, result, audit)
    ended = _time(run.result.stat().st_mtime)
    software = f"urn:software:morsr:{genesis.software}"
    outputs = [item["@id"] for item in files if item["@id"].startswith(("result.h5", "ledger/"))]
    action: dict[str, Any] = {
        "@id": f"#run-{audit.fingerprint}",
        "@type": "CreateAction",
        "name": f"morsr run {audit.fingerprint}",
        "description": (
            f"Minimisation of a quadratic objective over a tiled E8 lattice, n = "
            f"{result.solution.n}, {result.solution.k} targets, on {result.ranks} ranks: "
            f"{audit.verdict}"
        ),
        "instrument": {"@id": software},
        "object": [{"@id": f"#{key}"} for key, side, *_ in values if side == "object"],
        "result": [
            *({"@id": name} for name in outputs),
            *({"@id": f"#{key}"} for key, side, *_ in values if side == "result"),
        ],
        "endTime": ended,
    }
    if run.problem.exists():
        action["object"].insert(0, {"@id": run.problem.name})
    started = _started(run)
    if started:
        action["startTime"] = started
    if chain.sealed:
        action["actionStatus"] = "http://schema.org/CompletedActionStatus"
    graph: list[dict[str, Any]] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": CRATE},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"morsr run {audit.fingerprint}",
            "description": f"Run directory of morsr, genesis {chain.point.genesis.hex()}",
            "datePublished": ended,
            "license": {"@id": licence},
            "conformsTo": {"@id": PROFILE},
            "hasPart": [{"@id": item["@id"]} for item in files],
            "mentions": {"@id": action["@id"]},
        },
        {
            "@id": PROFILE,
            "@type": "CreativeWork",
            "name": "Process Run Crate",
            "version": PROFILE.rpartition("/")[2],
        },
        {"@id": licence, "@type": "CreativeWork", "name": licence},
        {
            "@id": software,
            "@type": "SoftwareApplication",
            "name": "morsr",
            "softwareVersion": genesis.software,
        },
        action,
        *files,
        *(
            {"@id": f"#{key}", "@type": "PropertyValue", "name": name, "value": value}
            for key, _, name, value in values
        ),
    ]
    if agent:
        action["agent"] = {"@id": "#agent"}
        graph.append({"@id": "#agent", "@type": "Person", "name": agent})
    return {"@context": [CONTEXT, {"sha256": SHA256}], "@graph": graph}


def _values(
    genesis: Genesis, chain: VerifiedChain, result: SolveResult, audit: Audit
) -> list[tuple[str, str, str, Any]]:
    """Return (key, object or result, name, value) of what is no file."""
    found: list[tuple[str, str, str, Any]] = [
        ("problem", "object", "SHA-256 of the problem", genesis.problem.hex()),
        ("options", "object", "SHA-256 of the options", genesis.options.hex()),
        ("algorithm", "object", "version of the algorithm", genesis.algorithm),
        ("security", "object", "security of the run", genesis.security),
        ("genesis", "result", "SHA-256 of the genesis record", chain.point.genesis.hex()),
        ("records", "result", "records of the journal", chain.point.count),
        ("starts", "result", "times the run was started or went on", 1 + _starts(chain)),
        ("certified", "result", "targets certified", int(result.certified.sum())),
        ("tolerance", "result", "relative tolerance of a certificate", float(result.tolerance)),
        ("solution", "result", "SHA-256 of /solution", result.solution.digest().hex()),
        ("audit", "result", "verdict of the audit", audit.verdict),
    ]
    if result.failures:
        found.append(("failures", "result", "failures", "; ".join(result.failures)))
    return found


def _starts(chain: VerifiedChain) -> int:
    before = (None, *chain.bodies)
    return sum(
        isinstance(body, Epoch) and not isinstance(last, Regroup)
        for last, body in zip(before, chain.bodies, strict=False)
    )


def _names(run: RunDirectory) -> Iterator[str]:
    """Yield the files of a run directory that are described, by their paths in it."""
    for path in (run.result, run.problem, run.log_file):
        if path.is_file():
            yield path.name
    for part in PARTS:
        for path in (run.path / part).rglob("*"):
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                yield path.relative_to(run.path).as_posix()


def _file(run: RunDirectory, name: str) -> dict[str, Any]:
    path = run.path / name
    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                sha.update(block)
        size = path.stat().st_size
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc.strerror or exc})") from None
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "contentSize": str(size),
        "encodingFormat": KINDS.get(path.suffix, "application/octet-stream"),
        "sha256": sha.hexdigest(),
    }


def _started(run: RunDirectory) -> str:
    """Return when the log begins, "" where there is none."""
    try:
        with run.log_file.open(encoding="utf-8", errors="replace") as file:
            text = file.readline(100)[:19]
        return datetime.datetime.fromisoformat(f"{text}+00:00").isoformat()
    except (OSError, ValueError):
        return ""


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
    return moment.isoformat()
