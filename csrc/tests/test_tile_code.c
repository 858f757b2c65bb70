/* Packed tiles come back, within their bounds; anything else is refused without a stray access. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tile_code.h"

static uint32_t draw(void)
{
    return (uint32_t)(check_random() >> 32);
}

/* Coordinates of one magnitude; points have one parity. */
static void fill(uint8_t *plain, int64_t tiles, int bits, int points)
{
    for (int64_t t = 0; t < tiles; t++) {
        const uint32_t parity = draw() & 1;
        for (int i = 0; i < 8; i++) {
            uint32_t v = bits ? draw() >> (32 - bits) : 0;
            v -= bits ? 1u << (bits - 1) : 0;
            if (points) v = (v & ~1u) | parity;
            for (int b = 0; b < 4; b++) plain[32 * t + 4 * i + b] = (uint8_t)(v >> (8 * b));
        }
    }
}

int main(void)
{
    enum { TILES = 5 };
    for (int bits = 0; bits <= 32; bits++)
        for (int points = 0; points < 2; points++)
            for (int round = 0; round < 20; round++) {
                uint8_t plain[TILES * TILE_PLAIN_BYTES], back[TILES * TILE_PLAIN_BYTES];
                fill(plain, TILES, bits, points);
                uint8_t *packed = malloc(TILES * TILE_MOST_BYTES);
                const int64_t size = tile_pack(plain, TILES, packed);
                uint8_t *exact = malloc((size_t)size);  /* the sanitizer watches its end */
                memcpy(exact, packed, (size_t)size);
                CHECK(size <= TILES * (1 + (bits ? bits : 1)));
                CHECK(tile_count(exact, size) == TILES);
                CHECK(tile_unpack(exact, size, back) == 0);
                CHECK(memcmp(plain, back, sizeof plain) == 0);
                free(packed);
                free(exact);
            }
    /* Noise: whatever is taken packs to the same bytes again. */
    for (int round = 0; round < 200000; round++) {
        const int64_t size = draw() % 40;
        uint8_t *noise = malloc((size_t)size + 1), *plain = malloc(32 * 40 + 1), packed[33 * 40];
        for (int64_t i = 0; i < size; i++)
            noise[i] = (uint8_t)(draw() & (draw() & 1 ? 0xff : 0xc3));
        const int64_t tiles = tile_count(noise, size);
        CHECK(tiles <= size);
        if (tiles >= 0 && tile_unpack(noise, size, plain) == 0) {
            CHECK(tile_pack(plain, tiles, packed) == size);
            CHECK(memcmp(noise, packed, (size_t)size) == 0);
        }
        free(noise);
        free(plain);
    }
    CHECK_DONE("test_tile_code");
}
