/*
 * An LZ4 block compressor for pages, written for zramfs.
 *
 * Why not liblz4: its releases since 1.9 look for a match one byte nearer to the end than the kernel does, so that one
 * page of a program in twenty comes out a few bytes shorter, and compr_data_size could not be compared with zram's.
 * The block format (doc/lz4_Block_format.md of LZ4) leaves the choice of matches to the compressor; the rules below
 * that decide it are the kernel's (lib/lz4), so that lengths are equal page by page. Any LZ4 decompresses the result.
 */

#include "lz4_page.h"
#include "lz4_block.h"

/* Knuth's multiplicative hash, by the constant that every LZ4 uses. */
static inline uint32_t hash_at(const uint8_t *at)
{
    return (read_u32(at) * 2654435761u) >> (32 - LZ4_PAGE_HASH_BITS);
}

int lz4_page_compress(
    struct lz4_page_table *table, const uint8_t *page, int page_bytes, uint8_t *block, unsigned acceleration)
{
    const uint8_t *const end = page + page_bytes;
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
            unsigned distance = (unsigned)(at - match);
            unsigned more = equal_bytes(at + MIN_MATCH, match + MIN_MATCH, last_match_byte);

            out = write_match(out, token, distance, more);
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
