"""`morsr simulate` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

FIELDS = {
    *("violations", "efficiency", "communication_fraction", "vote_latency_ms"),
    *("recovery_seconds", "seeds_failed"),
}


def test_json_has_the_fields_and_one_seed_gives_one_outcome(morsr: Callable[..., Any]) -> None:
    arguments = ["simulate", "--ranks", "4", "--byzantine", "1", "--runs", "2", "--seed", "3"]
    first, second = (morsr([*arguments, "--json"]).check().out for _ in range(2))
    assert first == second
    found = json.loads(first)
    assert found.keys() >= FIELDS
    assert found["violations"] == 0
    assert found["seeds_failed"] == []
    assert 0.0 < found["efficiency"] <= 1.0
    assert 0.0 < found["communication_fraction"] < 1.0
    assert found["recovery_seconds"] > 0.0


def test_a_person_reads_counts_and_the_prediction(morsr: Callable[..., Any]) -> None:
    out = morsr(["simulate", "--ranks", "8", "--runs", "1", "--part", "votes"]).check().out
    assert "votes: 1 runs of 8 to 8 ranks" in out
    assert "paper 92.1%" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ranks", "4", "--byzantine", "2"], "4 ranks bear 1 liars"),
        (["--ranks", "4", "--dims", "123"], "benchmarks/calibrate.py"),
        (["--ranks", "0"], "--ranks"),
        (["--ranks", "4", "--network", "pigeon"], "--network"),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    morsr: Callable[..., Any], arguments: list[str], said: str
) -> None:
    done = morsr(["simulate", *arguments])
    assert done.code == 64
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
