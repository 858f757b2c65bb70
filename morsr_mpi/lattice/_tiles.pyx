# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Thin binding to csrc/src/tile_code.c: passes pointers, releases the GIL.

Lengths and errors are checked one floor up, in tilecode.py; no argument is empty.
"""

from libc.stdint cimport int64_t, uint8_t


cdef extern from "tile_code.h" nogil:
    int64_t tile_pack(const uint8_t *, int64_t, uint8_t *)
    int64_t tile_count(const uint8_t *, int64_t)
    int tile_unpack(const uint8_t *, int64_t, uint8_t *)


def pack(const uint8_t[::1] plain, uint8_t[::1] out):
    """Packs 32-byte tiles into out, which has 33 bytes for each; returns the bytes written."""
    cdef int64_t tiles = plain.shape[0] // 32
    cdef const uint8_t *source = &plain[0]
    cdef uint8_t *target = &out[0]
    cdef int64_t size
    with nogil:
        size = tile_pack(source, tiles, target)
    return size


def count(const uint8_t[::1] packed):
    """Tiles by their control bytes, or -1."""
    cdef int64_t size = packed.shape[0]
    cdef const uint8_t *source = &packed[0]
    cdef int64_t tiles
    with nogil:
        tiles = tile_count(source, size)
    return tiles


def unpack(const uint8_t[::1] packed, uint8_t[::1] plain):
    """Unpacks into plain, which has 32 bytes for each tile count() found; 0 or -1."""
    cdef int64_t size = packed.shape[0]
    cdef const uint8_t *source = &packed[0]
    cdef uint8_t *target = &plain[0]
    cdef int status
    with nogil:
        status = tile_unpack(source, size, target)
    return status
