"""export: the crate passes the validator of its profile, and describes every file as it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from rocrate_validator import models, services
from test_audit import solve

from morsr_mpi.app.audit import audit_run
from morsr_mpi.app.export import METADATA, export_run
from morsr_mpi.base.errors import InputError, TamperError

SCHEMA = "http://schema.org/"
#: Terms that a crate of ours uses, and what the context of RO-Crate 1.1 says of them.
WORDS = (
    "Dataset CreativeWork CreateAction SoftwareApplication Person PropertyValue about name "
    "description datePublished license hasPart mentions instrument object result startTime "
    "endTime actionStatus agent value contentSize encodingFormat softwareVersion version"
)
TERMS = {name: SCHEMA + name for name in WORDS.split(" ")} | {
    "File": SCHEMA + "MediaObject",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}


class Answer:
    """The published context, as far as it is needed; the tests have no network."""

    status_code, ok, encoding, from_cache = 200, True, "utf-8", True

    def __init__(self, url: str) -> None:
        self.url, self.headers = url, {"Content-Type": "application/ld+json"}
        self.text = json.dumps({"@context": TERMS})
        self.content = self.text.encode()

    def json(self) -> Any:
        return json.loads(self.text)

    def raise_for_status(self) -> None:
        return None


@pytest.fixture
def issues(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    def answer(session: Any, method: str, url: str, **more: Any) -> Answer:
        assert url == "https://w3id.org/ro/crate/1.1/context"
        return Answer(url)

    monkeypatch.setattr(requests.Session, "request", answer)

    def found(run: Path) -> list[str]:
        settings = services.ValidationSettings(
            rocrate_uri=str(run),
            profile_identifier="process-run-crate",
            requirement_severity=models.Severity.REQUIRED,
            no_cache=True,
        )
        return [str(issue.message) for issue in services.validate(settings).get_issues()]

    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return solve(tmp_path / "run")


def test_a_crate_is_valid_and_leaves_the_run_as_sealed(
    run: Path, issues: Callable[[Path], list[str]], morsr: Callable[..., Any]
) -> None:
    done = morsr(["export", run, "--agent", "A. Person"]).check()
    assert str(run / METADATA) in done.out
    assert issues(run) == []
    assert audit_run(run, None).sealed
    crate = json.loads((run / METADATA).read_text())
    graph = {item["@id"]: item for item in crate["@graph"]}
    files = [item for item in graph.values() if item["@type"] == "File"]
    assert {"result.h5", "problem.h5", "ledger/journal.morsr", "log.txt"} <= graph.keys()
    for item in files:
        data = (run / item["@id"]).read_bytes()
        assert item["sha256"] == hashlib.sha256(data).hexdigest()
        assert item["contentSize"] == str(len(data))
    action = next(item for item in graph.values() if item["@type"] == "CreateAction")
    assert all(ref["@id"] in graph for ref in (*action["object"], *action["result"]))
    assert action["startTime"] <= action["endTime"]
    # The validator finds what is missing: it is not a check that cannot fail.
    del action["instrument"]
    (run / METADATA).write_text(json.dumps(crate))
    assert any("instrument" in text for text in issues(run))


def test_what_does_not_pass_the_audit_is_not_exported(run: Path) -> None:
    (run / "ledger" / "more").write_text("x")
    with pytest.raises(TamperError, match="not named by the seal"):
        export_run(run, agent=None, licence="https://example.org/")
    assert not (run / METADATA).exists()


def test_a_run_without_result_is_one_line(tmp_path: Path, run: Path) -> None:
    (run / "result.h5").unlink()
    with pytest.raises((InputError, TamperError)):
        export_run(run, agent=None, licence="https://example.org/")
