/*
 * An LZ4 block compressor for pages that may refer to a dictionary, written for zramfs: lz4_page.c says why, and has
 * the rules that hold without one. With one the kernel (LZ4_compress_fast_continue() of lib/lz4) hashes five bytes
 * instead of four, into half as many places; so some pages become longer that have nothing from the dictionary.
 */

#include "lz4_dictionary_page.h"

#include "lz4_block.h"

enum {
    FARTHEST = 65535,       /* the format: a distance has two bytes */
    FIRST_POSITION = 65536, /* the dictionary's first byte: 0, of what was not seen, is too far from any page */
    HASHED_EVERY = 3,       /* the kernel: of the dictionary's positions every third is noted */
    READ_BYTES = 8,         /* the kernel: what is read to hash five */
};

/* Where a page may go on as something earlier does. */
struct match {
    const uint8_t *from;
    const uint8_t *floor;   /* the begin of the page, or of the dictionary: it does not extend below it */
    uint32_t distance;
    bool is_in_dictionary;
};

/* By the constant that every LZ4 uses for five bytes. */
static inline uint32_t hash_at(const uint8_t *at)
{
    return (uint32_t)((read_u64(at) << 24) * 889523592379ull >> (64 - LZ4_DICTIONARY_PAGE_HASH_BITS));
}

void lz4_dictionary_load(struct lz4_dictionary *dictionary, const uint8_t *content, uint32_t bytes)
{
    memset(&dictionary->positions, 0, sizeof(dictionary->positions));
    dictionary->content = content;
    dictionary->bytes = bytes;
    for (uint32_t at = 0; at + READ_BYTES <= bytes; at += HASHED_EVERY)
        dictionary->positions.seen_at[hash_at(content + at)] = FIRST_POSITION + at;
}

/* What the position `seen` has to offer for `at`; whether its first four bytes are the same. */
static inline bool find_match(
    const struct lz4_dictionary *dictionary, const uint8_t *page, const uint8_t *at, uint32_t seen, struct match *match)
{
    uint32_t page_position = FIRST_POSITION + dictionary->bytes;

    match->distance = page_position + (uint32_t)(at - page) - seen;
    if (match->distance > FARTHEST)
        return false;
    match->is_in_dictionary = seen < page_position;
    match->floor = match->is_in_dictionary ? dictionary->content : page;
    match->from = match->floor + (seen - (match->is_in_dictionary ? FIRST_POSITION : page_position));
    return read_u32(match->from) == read_u32(at);
}

/* How many bytes behind the first four are the same. A match that reaches the dictionary's end goes on in the page. */
static inline unsigned more_bytes(
    const struct lz4_dictionary *dictionary, const uint8_t *page, const uint8_t *at, const struct match *match,
    const uint8_t *last_match_byte)
{
    const uint8_t *limit = last_match_byte;

    if (match->is_in_dictionary) {
        unsigned in_dictionary = (unsigned)(dictionary->content + dictionary->bytes - match->from);
        if (in_dictionary < (unsigned)(last_match_byte - at))
            limit = at + in_dictionary;
    }
    unsigned more = equal_bytes(at + MIN_MATCH, match->from + MIN_MATCH, limit);
    if (match->is_in_dictionary && at + MIN_MATCH + more == limit)
        more += equal_bytes(limit, page, last_match_byte);
    return more;
}

int lz4_dictionary_compress(
    const struct lz4_dictionary *dictionary, struct lz4_positions *scratch, const uint8_t *page, int page_bytes,
    uint8_t *block, unsigned acceleration)
{
    const uint8_t *const end = page + page_bytes;
    const uint8_t *const last_start = end - MATCH_MARGIN;
    const uint8_t *const last_match_byte = end - LAST_LITERALS;
    const uint32_t page_position = FIRST_POSITION + dictionary->bytes;
    const uint8_t *unwritten = page;
    const uint8_t *at = page + 1;
    uint32_t *seen_at = scratch->seen_at;
    uint8_t *out = block;

    memcpy(scratch, &dictionary->positions, sizeof(*scratch));
    seen_at[hash_at(page)] = page_position;
    uint32_t next_hash = hash_at(at);

    for (;;) {
        const uint8_t *next = at;
        struct match match;
        unsigned attempts = acceleration << SKIP_SHIFT;
        unsigned step = 1;
        bool is_found;

        do {
            uint32_t hash = next_hash;
            at = next;
            next += step;
            step = attempts++ >> SKIP_SHIFT;
            if (next > last_start)
                goto finish;
            is_found = find_match(dictionary, page, at, seen_at[hash], &match);
            next_hash = hash_at(next);
            seen_at[hash] = page_position + (uint32_t)(at - page);
        } while (!is_found);

        while (at > unwritten && match.from > match.floor && at[-1] == match.from[-1]) {
            at--;
            match.from--;
        }

        uint8_t *token = out;
        out = write_literals(out, unwritten, (unsigned)(at - unwritten), false);

        for (;;) {
            unsigned more = more_bytes(dictionary, page, at, &match, last_match_byte);

            out = write_match(out, token, match.distance, more);
            at += MIN_MATCH + more;
            unwritten = at;
            if (at > last_start)
                goto finish;

            seen_at[hash_at(at - 2)] = page_position + (uint32_t)(at - 2 - page);
            uint32_t hash = hash_at(at);
            is_found = find_match(dictionary, page, at, seen_at[hash], &match);
            seen_at[hash] = page_position + (uint32_t)(at - page);
            if (!is_found)
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
