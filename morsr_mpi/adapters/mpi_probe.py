"""Ping-pong between two MPI ranks, for the calibration of the scale model."""

from __future__ import annotations

import time

from mpi4py import MPI

_SMALL, _LARGE = 64, 1 << 20
_ROUNDS = 2000


def ping_pong() -> dict[str, float] | None:
    """Return seconds one way of a small message and bytes per second; rank 0 only.

    Every rank of a world of two calls it.
    """
    comm = MPI.COMM_WORLD
    if comm.Get_size() != 2:
        raise RuntimeError("ping-pong needs two ranks")
    small, large = _one_way(comm, _SMALL, _ROUNDS), _one_way(comm, _LARGE, _ROUNDS // 10)
    if comm.Get_rank() != 0:
        return None
    return {"latency": small, "bytes_per_second": (_LARGE - _SMALL) / max(large - small, 1e-9)}


def _one_way(comm: MPI.Intracomm, size: int, rounds: int) -> float:
    """Least seconds of ten blocks, one way."""
    buffer = bytearray(size)
    first = comm.Get_rank() == 0
    best = float("inf")
    for _ in range(10):
        comm.Barrier()
        start = time.perf_counter()
        for _ in range(rounds // 10):
            if first:
                comm.Send((buffer, MPI.BYTE), 1)
                comm.Recv((buffer, MPI.BYTE), 1)
            else:
                comm.Recv((buffer, MPI.BYTE), 0)
                comm.Send((buffer, MPI.BYTE), 0)
        best = min(best, (time.perf_counter() - start) / (rounds // 10) / 2)
    return best
