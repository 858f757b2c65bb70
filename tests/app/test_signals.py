"""Requests to stop and to checkpoint."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

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
