"""The writer thread: newest wins, failures are told, closing waits."""

from __future__ import annotations

import threading

from morsr_mpi.app.keeper import Interval, Writer
from morsr_mpi.base.errors import InputError


def test_only_the_newest_job_of_a_name_runs() -> None:
    gate, order = threading.Event(), list[str]()
    writer = Writer(order.append)
    writer.submit("slow", lambda: (gate.wait(10), order.append("slow"))[-1])
    writer.submit("result", lambda: order.append("old"))
    writer.submit("result", lambda: order.append("new"))
    writer.submit("checkpoint", lambda: order.append("checkpoint"))
    gate.set()
    writer.drain()
    assert sorted(order) == ["checkpoint", "new", "slow"]
    writer.submit("last", lambda: order.append("last"))
    writer.close()
    assert order[-1] == "last"


def test_a_failure_is_told_and_the_thread_goes_on() -> None:
    warnings, done = list[str](), list[str]()

    def fail() -> None:
        raise InputError("the disk is full")

    writer = Writer(warnings.append)
    writer.submit("result.h5", fail)
    writer.drain()
    writer.submit("again", lambda: done.append("again"))
    writer.close()
    assert warnings == ["result.h5 not written: the disk is full"]
    assert done == ["again"]


def test_interval() -> None:
    interval = Interval(5.0, 100.0)
    assert not interval.due(104.9)
    assert interval.due(105.0)
    interval.done(106.0)
    assert not interval.due(110.9)
