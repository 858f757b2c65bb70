"""Requests to stop and to checkpoint."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from morsr_mpi.app.environment import job_seconds_left
from morsr_mpi.app.signals import Requests


def test_signals_become_requests_and_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with Requests() as requests:
        assert requests.poll(0.0) is None
        os.kill(os.getpid(), signal.SIGUSR2)
        assert requests.take_checkpoint()
        assert not requests.take_checkpoint()
        assert requests.poll(0.0) is None
        os.kill(os.getpid(), signal.SIGUSR1)
        assert requests.poll(0.0) == "SIGUSR1"
    assert signal.getsignal(signal.SIGUSR1) == before


def test_in_a_plain_run_the_second_interrupt_ends_now() -> None:
    with Requests(interrupts=True) as requests:
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.poll(0.0) == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_stop_file_and_wall_time(tmp_path: Path) -> None:
    requests = Requests(stop_file=tmp_path / "STOP", deadline=100.0)
    assert requests.poll(0.0) is None
    (tmp_path / "STOP").touch()
    assert requests.poll(0.1) is None  # looked for four times a second only
    assert requests.poll(2.0) == f"{tmp_path / 'STOP'} exists"
    assert Requests(deadline=100.0).poll(100.0) == "--max-hours is used up"


def test_wall_time_keeps_a_hundredth_and_two_checkpoints_back() -> None:
    requests = Requests()
    requests.limit(1.0, 0.0)
    requests.reserve = 100.0
    assert requests.poll(3363.9) is None
    assert requests.poll(3364.0) == "--max-hours is used up"


def test_a_jobs_own_end_comes_first_when_it_is_earlier() -> None:
    requests = Requests()
    requests.limit(1000.0, time.monotonic(), remaining=31.0)
    assert requests.poll(time.monotonic()) is None
    assert requests.poll(time.monotonic() + 2.0) == "the job's wall time is nearly used up"
    early = Requests()
    early.limit(0.001, 0.0, remaining=1e6)
    assert early.poll(3.6) == "--max-hours is used up"
    assert job_seconds_left(90.0, {"SLURM_JOB_END_TIME": "100"}) == 10.0
    assert job_seconds_left(90.0, {"SLURM_JOB_END_TIME": "soon"}) is None
    assert job_seconds_left(90.0, {}) is None
