"""What one rank was at, and when: the raw material of `trace.json`.

A bounded list. Time is cut into windows; once the list is full only every second window is kept,
then every fourth, and so on, the same windows on all ranks (they follow the time since 1970), so
that what is kept shows all ranks at once. What is rare, checkpoints and failures, stays.
"""

from __future__ import annotations

import struct
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.app.accounting import CATEGORIES
from morsr_mpi.base import config

#: Kinds of span: what a rank is at (`accounting.CATEGORIES`), then what has a line of its own.
VOTED, CHECKPOINT = "certified", "checkpoint"
KINDS = (*CATEGORIES, VOTED, CHECKPOINT)
_CODE = {name: code for code, name in enumerate(KINDS)}
_MAGIC = b"MORSRSP1"
_HEAD = struct.Struct("<8sIIdI")
#: One span in a file: start in seconds since 1970, length in seconds, a number (pulse), kind.
SPAN = np.dtype([("start", "<f8"), ("length", "<f4"), ("number", "<i8"), ("kind", "u1")])


@dataclass
class Spans:
    """Spans of one rank. limit: most that are kept; clock_offset: seconds since 1970 at monotonic
    zero; stride: every how manieth window is kept."""

    limit: int
    clock_offset: float = field(default_factory=lambda: time.time() - time.monotonic())
    stride: int = 1

    def __post_init__(self) -> None:
        self._start, self._length = array("d"), array("f")
        self._number, self._kind = array("q"), array("B")
        self._at = float("-inf")
        self.texts: list[tuple[float, str]] = []
        self._thin_above = self.limit

    def __len__(self) -> int:
        return len(self._kind)

    def turn(self, was: str, now: float) -> None:
        """The rank turns from one thing to another. now: monotonic seconds."""
        start, self._at = self._at, now
        length = now - start
        if was == "wait" or length < config.TRACE_MIN_SECONDS or length == float("inf"):
            return
        self.add(was, start, length)

    def add(self, kind: str, start: float, length: float, number: int = -1) -> None:
        """Add a span; one that goes on with the last of its kind prolongs it. Monotonic seconds."""
        code = _CODE[kind]
        if self._kind and self._kind[-1] == code and number < 0:
            joined = start + length - self._start[-1]
            gap = joined - length - self._length[-1]
            if gap < config.TRACE_MIN_SECONDS and joined < config.TRACE_JOINED_SECONDS:
                self._length[-1] = joined
                return
        if self.stride > 1 and code != _CODE[CHECKPOINT] and not self._kept(start):
            return
        self._start.append(start)
        self._length.append(length)
        self._number.append(number)
        self._kind.append(code)
        if len(self._kind) > self._thin_above:
            self._thin()

    def fail(self, now: float, text: str) -> None:
        """Something went wrong, in one line; at most `config.TRACE_TEXTS` are kept."""
        if len(self.texts) < config.TRACE_TEXTS:
            self.texts.append((now + self.clock_offset, text))

    def to_bytes(self) -> bytes:
        """The spans as a file holds them; `read_spans` is the inverse."""
        head = _HEAD.pack(_MAGIC, self.stride, len(self), time.time(), len(self.texts))
        texts = b"".join(
            struct.pack("<dI", at, len(data)) + data
            for at, data in ((at, text.encode()) for at, text in self.texts)
        )
        return head + self._table().tobytes() + texts

    def _table(self) -> NDArray[np.void]:
        table = np.empty(len(self), SPAN)
        table["start"] = np.frombuffer(self._start, np.float64) + self.clock_offset
        table["length"] = np.frombuffer(self._length, np.float32)
        table["number"] = np.frombuffer(self._number, np.int64)
        table["kind"] = np.frombuffer(self._kind, np.uint8)
        return table

    def _kept(self, start: float) -> bool:
        return int((start + self.clock_offset) / config.TRACE_WINDOW_SECONDS) % self.stride == 0

    def _thin(self) -> None:
        """Keep every second of the windows that are left; checkpoints all stay.

        Where these, or one window, are more than there is room for, the list grows by a quarter
        before the next try, each of which halves what comes in.
        """
        self.stride *= 2
        keep = kept(self._table(), self.stride)
        for name in ("_start", "_length", "_number", "_kind"):
            whole = getattr(self, name)
            setattr(self, name, array(whole.typecode, np.frombuffer(whole, whole.typecode)[keep]))
        self._thin_above = max(self.limit, len(self) + self.limit // 4)


@dataclass(frozen=True)
class RankSpans:
    """What a file of spans holds. texts: (seconds since 1970, line)."""

    stride: int
    table: NDArray[np.void]
    texts: Sequence[tuple[float, str]]


def kept(table: NDArray[np.void], stride: int) -> NDArray[np.bool_]:
    """Return which spans remain where every `stride`-th window is kept."""
    window = (table["start"] / config.TRACE_WINDOW_SECONDS).astype(np.int64)
    return np.asarray((window % stride == 0) | (table["kind"] == _CODE[CHECKPOINT]))


def read_spans(data: bytes) -> RankSpans:
    """Return the spans of a file. Raises ValueError for anything `Spans.to_bytes` did not write."""
    try:
        magic, stride, count, _, texts = _HEAD.unpack_from(data)
        if magic != _MAGIC or stride < 1:
            raise ValueError("no file of spans")
        table = np.frombuffer(data, SPAN, count, _HEAD.size)
        if count and int(table["kind"].max()) >= len(KINDS):
            raise ValueError("spans of an unknown kind")
        at, found = _HEAD.size + count * SPAN.itemsize, []
        for _ in range(texts):
            when, length = struct.unpack_from("<dI", data, at)
            at += 12 + length
            found.append((when, data[at - length : at].decode()))
        if at != len(data):
            raise ValueError("a file of spans that is cut short or goes on")
    except struct.error as exc:
        raise ValueError(f"a file of spans that is cut short ({exc})") from None
    return RankSpans(stride, table, found)
