/* Packed tiles, see tile_code.h. Bytes are read and written one by one: any alignment, any order
 * of bytes in the machine. */
#include "tile_code.h"

enum { WIDTH_BITS = 0x3f, PARITY_BIT = 0x40, MIXED_BIT = 0x80, MOST_WIDTH = 32 };

static uint32_t load(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void store(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

/* Signed to unsigned with small magnitudes first: 0, -1, 1, -2, ... */
static uint32_t zigzag(int64_t value)
{
    return value < 0 ? (uint32_t)(-2 * value - 1) : (uint32_t)(2 * value);
}

static int64_t unzigzag(uint32_t code)
{
    return code & 1 ? -(int64_t)(code >> 1) - 1 : (int64_t)(code >> 1);
}

static int64_t as_signed(uint32_t bits)
{
    return bits & 0x80000000u ? (int64_t)bits - ((int64_t)1 << 32) : (int64_t)bits;
}

int64_t tile_pack(const uint8_t *plain, int64_t count, uint8_t *out)
{
    uint8_t *at = out;
    for (int64_t t = 0; t < count; t++, plain += TILE_PLAIN_BYTES) {
        uint32_t raw[8], code[8], all = 0, odd = 0;
        for (int i = 0; i < 8; i++) {
            raw[i] = load(plain + 4 * i);
            odd += raw[i] & 1;
        }
        const int mixed = odd != 0 && odd != 8;
        const uint32_t parity = odd == 8;
        for (int i = 0; i < 8; i++) {
            const int64_t v = as_signed(raw[i]);
            code[i] = zigzag(mixed ? v : (v - (int64_t)parity) / 2);
            all |= code[i];
        }
        int width = 0;
        while (width < MOST_WIDTH && all >> width) width++;
        *at++ = (uint8_t)(width | (parity ? PARITY_BIT : 0) | (mixed ? MIXED_BIT : 0));
        uint64_t bits = 0;
        int held = 0;
        for (int i = 0; i < 8; i++) {
            bits |= (uint64_t)code[i] << held;
            held += width;
            for (; held >= 8; held -= 8, bits >>= 8) *at++ = (uint8_t)bits;
        }
    }
    return at - out;
}

int64_t tile_count(const uint8_t *packed, int64_t bytes)
{
    int64_t at = 0, count = 0;
    while (at < bytes) {
        const int width = packed[at] & WIDTH_BITS;
        if (width > MOST_WIDTH || width > bytes - at - 1) return -1;
        at += 1 + width;
        count++;
    }
    return count;
}

int tile_unpack(const uint8_t *packed, int64_t bytes, uint8_t *plain)
{
    const uint8_t *const end = packed + bytes;
    for (; packed < end; plain += TILE_PLAIN_BYTES) {
        const int control = *packed++;
        const int width = control & WIDTH_BITS, mixed = control & MIXED_BIT;
        const int64_t parity = control & PARITY_BIT ? 1 : 0;
        const uint64_t mask = ((uint64_t)1 << width) - 1;
        uint64_t bits = 0;
        uint32_t all = 0, odd = 0;
        int held = 0;
        if (mixed && parity) return -1;
        for (int i = 0; i < 8; i++) {
            for (; held < width; held += 8) bits |= (uint64_t)*packed++ << held;
            const uint32_t code = (uint32_t)(bits & mask);
            bits >>= width;
            held -= width;
            all |= code;
            const int64_t v = mixed ? unzigzag(code) : 2 * unzigzag(code) + parity;
            if (v < INT32_MIN || v > INT32_MAX) return -1;
            odd += (uint32_t)v & 1;
            store(plain + 4 * i, (uint32_t)v);
        }
        if (width > 0 && !(all >> (width - 1))) return -1;
        if (mixed && (odd == 0 || odd == 8)) return -1;
    }
    return 0;
}
