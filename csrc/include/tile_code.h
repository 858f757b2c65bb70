/* Packed tiles: doubled coordinates of eight dimensions each in as few bits as their tile needs.
 *
 * A tile is a control byte and w bytes. The eight coordinates of a point of E8 are all even or all
 * odd; with p their parity, u = zigzag((v - p) / 2) takes w bits each, eight of them w bytes,
 * little-endian. Control byte: bits 0-5 the width w, the least that holds all; bit 6 the parity;
 * bit 7 set where parities differ (no point of E8), then u = zigzag(v). One tile has one form:
 * whatever is not the least width, or marked as differing without reason, is refused. */
#ifndef MORSR_TILE_CODE_H
#define MORSR_TILE_CODE_H

#include <stdint.h>

enum {
    TILE_PLAIN_BYTES = 32, /* eight little-endian int32 */
    TILE_MOST_BYTES = 33   /* of one packed tile */
};

/* Packs `count` tiles of TILE_PLAIN_BYTES each; `out` has TILE_MOST_BYTES for each.
 * Returns the bytes written. */
int64_t tile_pack(const uint8_t *plain, int64_t count, uint8_t *out);

/* Number of tiles in these packed bytes by their control bytes alone; -1 where the last one is cut
 * short or a width is above 32. */
int64_t tile_count(const uint8_t *packed, int64_t bytes);

/* Unpacks the tiles of packed bytes for which tile_count gave a number; `plain` has
 * TILE_PLAIN_BYTES for each. Returns 0, or -1 for bytes tile_pack would not have written. */
int tile_unpack(const uint8_t *packed, int64_t bytes, uint8_t *plain);

#endif
