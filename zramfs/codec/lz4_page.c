/*
 * An LZ4 block compressor for pages, written for zramfs.
 *
 * Why not liblz4: its releases since 1.9 look for a match one byte nearer to the end than the kernel does, so that one
 * page of a program in twenty comes out a few bytes shorter, and compr_data_size could not be compared with zram's.
 * The block format (doc/lz4_Block_format.md of LZ4) leaves the choice of matches to the compressor; the rules below
 * that decide it are the kernel's (lib/lz4), so that lengths are equal page by page. Any LZ4 decompresses the result.
 */

#include "lz4_page.h"

#include <stdbool.h>
#include <string.h>

enum {
    MIN_MATCH = 4,          /* the format's shortest match */
    LAST_LITERALS = 5,      /* the format: a block ends with at least so many literals */
    MATCH_MARGIN = 12,      /* the kernel: no match begins within so many bytes of the end */
    LENGTH_IN_TOKEN = 15,   /* the format: a token's half says 0 to 14; 15 means that more bytes follow */
    SKIP_SHIFT = 6,         /* the kernel: after each 64 failed searches the step grows by one */
};

static inline uint32_t read_u32(const uint8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof(word));
    return word;
}

static inline uint64_t read_u64(const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof(word));
    return word;
}

/* Knuth's multiplicative hash, by the constant that every LZ4 uses. */
static inline uint32_t hash_at(const uint8_t *at)
{
    return (read_u32(at) * 2654435761u) >> (32 - LZ4_PAGE_HASH_BITS);
}

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

int lz4_page_compress(struct lz4_page_table *table, const uint8_t *page, uint8_t *block, unsigned acceleration)
{
    const uint8_t *const end = page + LZ4_PAGE_BYTES;
    const uint8_t *const last_start = end - MATCH_MARGIN;
    const uint8_t *const last_match_byte = end - LAST_LITERALS;
    const uint8_t *unwritten = page;
    const uint8_t *at = page + 1;
    uint16_t *seen_at = table->seen_at;
    uint8_t *out = block;

    memset(table, 0, sizeof(*table)); /* also puts the first four bytes where they are: at 0 */
    uint32_t next_hash = hash_at(at);

    for (;;) {
        const uint8_t *next = at;
        const uint8_t *match;
        unsigned attempts = acceleration << SKIP_SHIFT;
        unsigned step = 1;

        do {
            uint32_t hash = next_hash;
            at = next;
            next += step;
            step = attempts++ >> SKIP_SHIFT;
            if (next > last_start)
                goto finish;
            match = page + seen_at[hash];
            next_hash = hash_at(next);
            seen_at[hash] = (uint16_t)(at - page);
        } while (read_u32(match) != read_u32(at));

        while (at > unwritten && match > page && at[-1] == match[-1]) {
            at--;
            match--;
        }

        uint8_t *token = out;
        out = write_literals(out, unwritten, (unsigned)(at - unwritten), false);

        for (;;) {
            uint16_t distance = (uint16_t)(at - match);
            unsigned more = equal_bytes(at + MIN_MATCH, match + MIN_MATCH, last_match_byte);

            *out++ = (uint8_t)distance;
            *out++ = (uint8_t)(distance >> 8);
            if (more >= LENGTH_IN_TOKEN) {
                *token |= LENGTH_IN_TOKEN;
                out = write_length(out, more - LENGTH_IN_TOKEN);
            } else {
                *token |= (uint8_t)more;
            }
            at += MIN_MATCH + more;
            unwritten = at;
            if (at > last_start)
                goto finish;

            seen_at[hash_at(at - 2)] = (uint16_t)(at - 2 - page);
            uint32_t hash = hash_at(at);
            match = page + seen_at[hash];
            seen_at[hash] = (uint16_t)(at - page);
            if (read_u32(match) != read_u32(at))
                break;
            token = out++; /* the next match follows at once: no literals */
            *token = 0;
        }
        next_hash = hash_at(++at);
    }

finish:
    out = write_literals(out, unwritten, (unsigned)(end - unwritten), true);
    return (int)(out - block);
}
