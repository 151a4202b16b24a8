/*
 * What the LZ4 compressors of pages have in common: the format's sequences (doc/lz4_Block_format.md of LZ4), and the
 * kernel's constants.
 */
#ifndef ZRAMFS_LZ4_BLOCK_H
#define ZRAMFS_LZ4_BLOCK_H

#include "words.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    MIN_MATCH = 4,          /* the format's shortest match */
    LAST_LITERALS = 5,      /* the format: a block ends with at least so many literals */
    MATCH_MARGIN = 12,      /* the kernel: no match begins within so many bytes of the end */
    LENGTH_IN_TOKEN = 15,   /* the format: a token's half says 0 to 14; 15 means that more bytes follow */
    SKIP_SHIFT = 6,         /* the kernel: after each 64 failed searches the step grows by one */
};

/* How many bytes from `at` on equal those from `earlier` on, before `end`. */
static inline unsigned equal_bytes(const uint8_t *at, const uint8_t *earlier, const uint8_t *end)
{
    const uint8_t *begin = at;

    while (at + 8 <= end) {
        uint64_t difference = read_u64(at) ^ read_u64(earlier);
        if (difference)
            return (unsigned)(at - begin) + (unsigned)(__builtin_ctzll(difference) >> 3);
        at += 8;
        earlier += 8;
    }
    while (at < end && *at == *earlier) {
        at++;
        earlier++;
    }
    return (unsigned)(at - begin);
}

/* What a length has beyond the 15 of its token: bytes of 255 and a last one that is less. */
static inline uint8_t *write_length(uint8_t *out, unsigned rest)
{
    while (rest >= 255) {
        *out++ = 255;
        rest -= 255;
    }
    *out++ = (uint8_t)rest;
    return out;
}

/* Begins a sequence: its token with the literals' half, their length, and the literals. */
static inline uint8_t *write_literals(uint8_t *out, const uint8_t *literals, unsigned count, bool is_last)
{
    uint8_t *token = out++;

    if (count >= LENGTH_IN_TOKEN) {
        *token = LENGTH_IN_TOKEN << 4;
        out = write_length(out, count - LENGTH_IN_TOKEN);
    } else {
        *token = (uint8_t)(count << 4);
    }
    if (is_last) {
        memcpy(out, literals, count);
    } else {
        /* In eights: before a match at least 12 bytes follow in the page, and the block has room to spare. */
        for (unsigned copied = 0; copied < count; copied += 8)
            memcpy(out + copied, literals + copied, 8);
    }
    return out + count;
}

/* Ends a sequence: the token's other half, how far back the match lies, and how much longer it is than MIN_MATCH. */
static inline uint8_t *write_match(uint8_t *out, uint8_t *token, unsigned distance, unsigned more)
{
    *out++ = (uint8_t)distance;
    *out++ = (uint8_t)(distance >> 8);
    if (more >= LENGTH_IN_TOKEN) {
        *token |= LENGTH_IN_TOKEN;
        return write_length(out, more - LENGTH_IN_TOKEN);
    }
    *token |= (uint8_t)more;
    return out;
}

#endif
