from typing import Any

from numpy.typing import NDArray

OK: int
BAD_ARGUMENT: int
RANGE: int

def nearest_f64(x: NDArray[Any], doubled: NDArray[Any] | None, dist2: NDArray[Any]) -> int: ...
def nearest_f32(x: NDArray[Any], doubled: NDArray[Any] | None, dist2: NDArray[Any]) -> int: ...
def fold(
    x: NDArray[Any], folded: NDArray[Any], words: NDArray[Any], lengths: NDArray[Any]
) -> int: ...
def k_nearest(
    metric: NDArray[Any],
    centres: NDArray[Any],
    base: float,
    limit: float,
    after_cost: NDArray[Any] | None,
    after: NDArray[Any] | None,
    k: int,
    doubled: NDArray[Any],
    cost: NDArray[Any],
    count: NDArray[Any],
) -> tuple[int, int]: ...
def cpu_level() -> int: ...
def level() -> int: ...
def set_level(wanted: int) -> int: ...
