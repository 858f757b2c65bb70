"""Latencies in a few numbers: a histogram over times from ten microseconds to an hour.

Each bucket is wider than the one before by the square root of two, so that a quantile is known to
within 41 %, whatever was measured, and histograms of ranks are merged by adding.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

#: Upper ends of the buckets in seconds; what is longer falls into one more.
BOUNDS: tuple[float, ...] = tuple(1e-5 * 2.0 ** (i / 2.0) for i in range(58))


class Histogram:
    """Counts of times by bucket. counts: one more than BOUNDS; total: sum of the times, seconds."""

    __slots__ = ("counts", "total")

    def __init__(self, counts: Sequence[int] = (), total: float = 0.0) -> None:
        """Raises ValueError for counts that are none of ours."""
        if counts and (len(counts) != len(BOUNDS) + 1 or min(counts) < 0):
            raise ValueError("a histogram with other buckets")
        self.counts = list(counts) or [0] * (len(BOUNDS) + 1)
        self.total = total

    def add(self, seconds: float) -> None:
        """Count one time; a bucket holds its upper end."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """How many times were counted."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Return the upper end of the bucket below which a share of the times lies; 0 for none.

        Of what is above all bounds, the last bound.
        """
        wanted = share * self.count
        if wanted <= 0.0:
            return 0.0
        seen = 0
        for bound, count in zip(BOUNDS, self.counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return BOUNDS[-1]

    def minus(self, before: Histogram) -> Histogram:
        """Return what was counted since an earlier state of the same histogram."""
        counts = [max(0, a - b) for a, b in zip(self.counts, before.counts, strict=True)]
        return Histogram(counts, max(0.0, self.total - before.total))

    def to_json(self) -> dict[str, object]:
        """Return its numbers, without the empty buckets: {"total": s, "at": {index: count}}."""
        return {"total": self.total, "at": {str(i): c for i, c in enumerate(self.counts) if c}}

    @classmethod
    def from_json(cls, found: object) -> Histogram:
        """Raise ValueError for anything to_json did not return."""
        if not isinstance(found, dict) or not isinstance(found.get("at"), dict):
            raise ValueError("no histogram")
        counts = [0] * (len(BOUNDS) + 1)
        for index, count in found["at"].items():
            if not 0 <= int(index) < len(counts):
                raise ValueError("a histogram with other buckets")
            counts[int(index)] = int(count)
        return cls(counts, float(found["total"]))


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return the sum of histograms."""
    total = Histogram()
    for histogram in histograms:
        total.counts = [a + b for a, b in zip(total.counts, histogram.counts, strict=True)]
        total.total += histogram.total
    return total
