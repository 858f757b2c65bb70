"""A binary range coder with adaptive probabilities: decisions to bytes and back, exactly.

The arithmetic is that of the coder of LZMA (32-bit range, carries kept back in a cache byte),
with integer counts as the model, so that encoder and decoder agree on every machine.
"""

from __future__ import annotations

TOP = 1 << 24
MASK = 0xFFFFFFFF
#: Probabilities are given to the coder in 1 / 65536.
SCALE_BITS = 16
SCALE = 1 << SCALE_BITS
#: A context halves its counts here, so that it follows what changes along the stream.
COUNT_LIMIT = 2048
#: What one decision adds to its count; starting counts below it are weak expectations.
INCREMENT = 2


class Context:
    """Adaptive probability of one kind of yes-or-no decision.

    zeros, ones: starting counts, positive; 1 and 1 is the estimator of Krichevsky and Trofimov.
    """

    __slots__ = ("ones", "zeros")

    def __init__(self, zeros: int = 1, ones: int = 1) -> None:
        self.zeros = zeros
        self.ones = ones

    def zero_share(self) -> int:
        """Return the probability of 0 in units of 1 / SCALE, never 0 and never SCALE."""
        return max(1, min(SCALE - 1, (self.zeros << SCALE_BITS) // (self.zeros + self.ones)))

    def update(self, bit: int) -> None:
        """Count a decision."""
        if bit:
            self.ones += INCREMENT
        else:
            self.zeros += INCREMENT
        if self.zeros + self.ones > COUNT_LIMIT:
            self.zeros = (self.zeros + 1) >> 1
            self.ones = (self.ones + 1) >> 1


class Encoder:
    """Turns decisions into bytes; `finish` ends the stream."""

    def __init__(self) -> None:
        self._low = 0
        self._range = MASK
        self._out = bytearray()
        self._cache = -1  # no byte is held back yet
        self._pending = 0

    def encode(self, bit: int, context: Context) -> None:
        """Code one decision under its context, and adapt the context."""
        bound = (self._range >> SCALE_BITS) * context.zero_share()
        self._narrow(bit, bound)
        context.update(bit)

    def encode_even(self, bit: int) -> None:
        """Code a decision that has no model: exactly one bit."""
        self._narrow(bit, self._range >> 1)

    def _narrow(self, bit: int, bound: int) -> None:
        if bit:
            self._low += bound
            self._range -= bound
        else:
            self._range = bound
        while self._range < TOP:
            self._range = (self._range << 8) & MASK
            self._shift()

    def _shift(self) -> None:
        """Move the top byte of `low` out; a run of 255 waits until a carry can no longer come."""
        if self._low < 0xFF000000 or self._low > MASK:
            carry = self._low >> 32
            if self._cache >= 0:
                self._out.append((self._cache + carry) & 0xFF)
            self._out.extend(bytes([(0xFF + carry) & 0xFF]) * self._pending)
            self._pending = 0
            self._cache = (self._low >> 24) & 0xFF
        else:
            self._pending += 1
        self._low = (self._low << 8) & MASK

    def finish(self) -> bytes:
        """Return the bytes: the shortest number inside the final interval, zeros dropped."""
        for bits in range(32, -1, -1):
            rounded = -(-self._low >> bits) << bits
            if rounded < self._low + self._range:
                self._low = rounded
                break
        for _ in range(5):
            self._shift()
        return bytes(self._out).rstrip(b"\0")


class Decoder:
    """Reads the decisions back, given the same contexts in the same order.

    Any bytes are some sequence of decisions, and zeros follow behind their end: whoever stores
    a stream keeps its length and checksum.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._range = MASK
        self._code = 0
        for _ in range(4):
            self._code = (self._code << 8) | self._next()

    def _next(self) -> int:
        at = self._at
        self._at += 1
        return self._data[at] if at < len(self._data) else 0

    def decode(self, context: Context) -> int:
        """Return the next decision under its context, and adapt the context."""
        bit = self._split((self._range >> SCALE_BITS) * context.zero_share())
        context.update(bit)
        return bit

    def decode_even(self) -> int:
        """Return a decision that was coded without a model."""
        return self._split(self._range >> 1)

    def _split(self, bound: int) -> int:
        if self._code < bound:
            self._range = bound
            bit = 0
        else:
            self._code -= bound
            self._range -= bound
            bit = 1
        while self._range < TOP:
            self._range = (self._range << 8) & MASK
            self._code = ((self._code << 8) | self._next()) & MASK
        return bit
