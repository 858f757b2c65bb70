"""`morsr` in a run that waits: it commits no pulse from a certain one on until it may.

Usage: python held.py PULSE GATE solve|launch ...

For tests in which something happens to a run in its middle: the run is still there when it
happens, however fast the machine. Ranks compute, talk and look after each other as ever. They go
on when the file GATE exists: the test makes it, or the coordinator as soon as it knows that it is
to stop, so that it stops before the next pulse.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def hold(pulse: int, gate: Path) -> None:
    """Change what commits, and what `launch` starts."""
    from morsr_mpi.app import launch
    from morsr_mpi.node.core import Node
    from morsr_mpi.node.pulses import PulseBook

    ready, advance, command = PulseBook.ready, Node._advance, launch.rank_command

    def is_ready(self: Any) -> bool:
        assert ready.fget is not None
        return ready.fget(self) and (self.open[0].number < pulse or gate.exists())

    def advanced(self: Any) -> None:
        if self._stop.reason and self._work.coordinating:
            gate.touch()
        advance(self)

    def held_command(*arguments: Any) -> list[str]:
        words = command(*arguments)
        at = words.index("-m", words.index(sys.executable))
        return [*words[:at], __file__, str(pulse), str(gate), *words[at + 2 :]]

    PulseBook.ready = property(is_ready)  # type: ignore[method-assign, assignment]
    Node._advance = advanced  # type: ignore[method-assign]
    launch.rank_command = held_command  # type: ignore[assignment]


def main() -> int:
    hold(int(sys.argv[1]), Path(sys.argv[2]))
    from morsr_mpi.cli.main import run

    return run(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
