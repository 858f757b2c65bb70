"""Slots: whole frames packed into the fixed-size slot of an exchange round.

Each frame is preceded by its length in four bytes, big-endian; a length of zero, or the end
of the slot, ends the list; what follows must be zeros. A slot of zeros carries nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.base.config import SLOT_BYTES
from morsr_mpi.base.errors import InternalError, ProtocolError

LENGTH_BYTES = 4
EMPTY_SLOT = bytes(SLOT_BYTES)
#: Largest frame that fits a slot.
SLOT_CAPACITY = SLOT_BYTES - LENGTH_BYTES


def pack_slot(frames: Sequence[bytes]) -> bytes:
    """Return a slot with these frames. Raises InternalError when they do not fit."""
    if not frames:
        return EMPTY_SLOT
    data = b"".join(len(f).to_bytes(LENGTH_BYTES, "big") + f for f in frames)
    if len(data) > SLOT_BYTES or not all(frames):
        raise InternalError(f"{len(data)} bytes of frames do not fit a slot")
    return data.ljust(SLOT_BYTES, b"\0")


def unpack_slot(slot: bytes, sender: int) -> list[bytes]:
    """Return the frames of a slot. Raises ProtocolError naming the sender if it is damaged."""
    if slot == EMPTY_SLOT:
        return []
    if len(slot) != SLOT_BYTES:
        raise ProtocolError(f"the slot of rank {sender} has {len(slot)} bytes, not {SLOT_BYTES}")
    frames = []
    at = 0
    while at + LENGTH_BYTES <= SLOT_BYTES:
        length = int.from_bytes(slot[at : at + LENGTH_BYTES], "big")
        at += LENGTH_BYTES
        if length == 0:
            break
        if length > SLOT_BYTES - at:
            raise ProtocolError(f"the slot of rank {sender} holds a frame longer than the slot")
        frames.append(slot[at : at + length])
        at += length
    if slot.count(0, at) != SLOT_BYTES - at:
        raise ProtocolError(f"the slot of rank {sender} holds bytes after its last frame")
    return frames
