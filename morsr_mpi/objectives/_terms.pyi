from typing import Any

from numpy.typing import NDArray

RADIAL: int
SEPARABLE: int
CQE: int

def set_level(level: int) -> None: ...
def root_quad(q: NDArray[Any], roots: NDArray[Any], quad: NDArray[Any]) -> None: ...

class Term:
    def __init__(
        self, kind: int, count: int, first: int, table: NDArray[Any], rim: float
    ) -> None: ...
    def values(self, points: NDArray[Any], out: NDArray[Any]) -> None: ...
    def costs(
        self,
        u: NDArray[Any],
        centre: NDArray[Any],
        origin: NDArray[Any],
        points: NDArray[Any],
        quad: NDArray[Any],
        term: NDArray[Any],
    ) -> None: ...
    def near(
        self,
        roots: NDArray[Any],
        u: NDArray[Any],
        centres: NDArray[Any],
        origin: NDArray[Any],
        points: NDArray[Any],
        total: NDArray[Any],
        found: NDArray[Any],
    ) -> None: ...

class Beam:
    def __init__(
        self,
        diag: NDArray[Any],
        w: NDArray[Any],
        weight: NDArray[Any],
        roots: NDArray[Any],
        term: Term,
        centre: NDArray[Any],
        origin: NDArray[Any],
        width: int,
        branch: int,
        gamma: float,
        limit: float,
    ) -> None: ...
    def step(self, ticks: int) -> bool: ...
    @property
    def ticks(self) -> int: ...
    def best(self, out: NDArray[Any]) -> float | None: ...

class Walk:
    def __init__(
        self,
        q: NDArray[Any],
        target: NDArray[Any],
        quad: NDArray[Any],
        roots: NDArray[Any],
        term: Term,
        doubled: NDArray[Any],
        patience: int,
        seed: int,
    ) -> None: ...
    def step(self, ticks: int) -> bool: ...
    @property
    def ticks(self) -> int: ...
    def best(self, out: NDArray[Any], descent: NDArray[Any]) -> None: ...
