import numpy as np
from numpy.typing import NDArray

TICKS_PER_UNIT: int
SHORT_BATCH: int
WEIGHT_TILES: int

def best_level() -> int: ...
def level_name() -> str: ...
def set_level(level: int) -> None: ...
def cholesky(a: NDArray[np.float64]) -> int: ...
def tri_inverse(u: NDArray[np.float64], g: NDArray[np.float64]) -> None: ...
def factor_blocks(
    u: NDArray[np.float64],
    g: NDArray[np.float64],
    diag: NDArray[np.float64],
    w: NDArray[np.float64],
) -> None: ...
def couplings(
    diag: NDArray[np.float64],
    w: NDArray[np.float64],
    weights: NDArray[np.float64],
    blocks: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
def propose_weights(
    g: NDArray[np.float64],
    weights: NDArray[np.float64],
    s: NDArray[np.float64],
    work: NDArray[np.float64],
) -> None: ...
def propose_blocks(
    g: NDArray[np.float64],
    all: bool,
    least: float,
    blocks: NDArray[np.float64],
    d: NDArray[np.float64],
    s: NDArray[np.float64],
    work: NDArray[np.float64],
) -> None: ...
def short_tables(
    grams: NDArray[np.float64],
    half: NDArray[np.float64],
    bound: float,
    least: float,
    most: float,
    rows: NDArray[np.float32],
    counts: NDArray[np.int32],
    limits: NDArray[np.float64],
) -> int: ...
def tile_quad(diag: NDArray[np.float64], quad: NDArray[np.float64]) -> None: ...
def factor_norms(
    u: NDArray[np.float64], g: NDArray[np.float64], work: NDArray[np.float64]
) -> tuple[float, float, float]: ...
def lambda_estimates(
    g: NDArray[np.float64], sizes: int, out: NDArray[np.float64], work: NDArray[np.float64]
) -> None: ...
def vblast(
    g: NDArray[np.float64],
    p: NDArray[np.float64],
    order: NDArray[np.int32],
    work: NDArray[np.float64],
) -> None: ...
def root_quad(q: NDArray[np.float64], quad: NDArray[np.float64]) -> None: ...
def free_bound(
    weights: NDArray[np.float64], centres: NDArray[np.float64], part: NDArray[np.float64]
) -> float: ...

class Objective:
    def __init__(
        self,
        q: NDArray[np.float64],
        target: NDArray[np.float64],
        scale: float,
        work: NDArray[np.float64],
    ) -> None: ...
    def evaluate(self, doubled: NDArray[np.int32]) -> float: ...
    def descend(
        self, quad: NDArray[np.float64], doubled: NDArray[np.int32], max_sweeps: int
    ) -> int: ...

class Tables:
    def __init__(
        self,
        rows: NDArray[np.float32],
        counts: NDArray[np.int32],
        starts: NDArray[np.int64],
        limits: NDArray[np.float64],
    ) -> None: ...

class FactorView:
    def __init__(
        self,
        m: int,
        diag: NDArray[np.float64],
        w: NDArray[np.float64],
        quad: NDArray[np.float64],
        bounds: NDArray[np.float64],
        weights: NDArray[np.float64],
        coupling: NDArray[np.float64],
        children: Tables | None,
        blocks: NDArray[np.float64],
        block_coupling: NDArray[np.float64],
        free: Tables | None,
    ) -> None: ...
    def block_bound(self, centres: NDArray[np.float64]) -> float: ...
    def look_ahead(
        self,
        centres: NDArray[np.float64],
        step: NDArray[np.float64],
        start: NDArray[np.float64],
        crowded: bool,
        weight: float,
        limit: float,
        key: NDArray[np.float64],
    ) -> int: ...

def rank_row(j: int) -> int: ...

class RankingView:
    def __init__(
        self,
        factor: FactorView,
        w: NDArray[np.float32],
        tiles: NDArray[np.float32],
        levels: NDArray[np.float32],
        work: NDArray[np.float64],
        band: int = 0,
    ) -> None: ...
    @property
    def unit(self) -> float: ...

class Beam:
    def __init__(
        self,
        ranking: RankingView,
        centre: NDArray[np.float64],
        width: int,
        branch: int,
        gamma: float,
        limit: float,
    ) -> None: ...
    def step(self, ticks: int) -> bool: ...
    @property
    def ticks(self) -> int: ...
    def best(self, out: NDArray[np.int32]) -> float | None: ...

class Walk:
    def __init__(
        self,
        objective: Objective,
        doubled: NDArray[np.int32],
        patience: int,
        seed: int,
    ) -> None: ...
    def step(self, ticks: int) -> bool: ...
    @property
    def ticks(self) -> int: ...
    def best(self, out: NDArray[np.int32]) -> None: ...

def babai(factor: FactorView, centre: NDArray[np.float64], out: NDArray[np.int32]) -> int: ...

class Prove:
    def __init__(
        self,
        factor: FactorView,
        centre: NDArray[np.float64],
        prefix: NDArray[np.int32],
        depth: int,
        after: NDArray[np.int32],
        inclusive: bool,
        skip: int,
        split: int,
        objective: Objective,
        base: NDArray[np.int32],
        order: NDArray[np.int32],
        best: float,
        slack: float,
    ) -> None: ...
    def step(self, ticks: int) -> bool: ...
    def close(self) -> None: ...
    @property
    def ticks(self) -> int: ...
    @property
    def spent(self) -> int: ...
    @property
    def count(self) -> int: ...
    def chamber(
        self,
        i: int,
        prefix: NDArray[np.int32],
        ranks: NDArray[np.int64],
        after: NDArray[np.int32],
    ) -> tuple[int, int, float, bool]: ...
    def best(self, out: NDArray[np.int32]) -> float | None: ...
    def stats(self) -> tuple[int, int, int, int, int]: ...
