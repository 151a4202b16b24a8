/*
 * An LZO1X compressor for pages, written for zramfs: the kernel's lzo and lzo-rle.
 *
 * Why not liblzo2: of ten pages of programs it makes seven longer or shorter than the kernel does, so that
 * compr_data_size could not be compared with zram's, and it has no lzo-rle. The format leaves the choice of matches to
 * the compressor. The rules below that decide it are the kernel's: what is generally known of LZO1X-1, put right until
 * all lengths were those of a zram of Linux 6.18. docs/notes/performance.md says how each of them shows.
 */

#include "lzo_page.h"
#include "words.h"

#include <string.h>

enum {
    FIRST_START = 5,            /* the kernel: the first place at which it looks for a match */
    MIN_MATCH = 4,              /* the kernel: the format's matches of two and three bytes are not looked for */
    MATCH_MARGIN = 20,          /* the kernel: no match begins within so many bytes of the end */
    SKIP_SHIFT = 5,             /* the kernel: with each 32 literals the step grows by one */

    COPIED_BYTES = 16,          /* literals are copied by so many: the page has as many behind a place to begin at */
};

/* A stream that is being written. */
struct writer {
    uint8_t *out;
    uint8_t *state;             /* the byte of the last instruction that counts the literals behind it */
};

/* A multiplicative hash, by the constant that every LZO uses. */
static inline uint32_t hash_of(uint32_t word)
{
    return (word * 0x1824429du) >> (32 - LZO_PAGE_HASH_BITS);
}

/*
 * Where a match ends that begins at `at`. The kernel compares eight bytes at a time, and stops behind the eight with
 * which it has come to `search_end`: so it may go up to 11 bytes farther.
 */
static inline const uint8_t *match_end(const uint8_t *at, const uint8_t *earlier, const uint8_t *search_end)
{
    at += MIN_MATCH;
    earlier += MIN_MATCH;
    do {
        uint64_t difference = read_u64(at) ^ read_u64(earlier);
        if (difference)
            return at + (__builtin_ctzll(difference) >> 3);
        at += 8;
        earlier += 8;
    } while (at < search_end);
    return at;
}

/* Where the run of zeros ends whose first four are at `at`. The kernel counts more of them up to `search_end` only. */
static inline const uint8_t *zeros_end(const uint8_t *at, const uint8_t *search_end)
{
    const uint8_t *limit = search_end - at > LZO_ZERO_RUN_LONGEST ? at + LZO_ZERO_RUN_LONGEST : search_end;

    at += LZO_ZERO_RUN_BASE;
    if (at >= limit)
        return at;
    for (; at < limit; at += 8) {
        uint64_t word = read_u64(at);
        if (word) {
            at += __builtin_ctzll(word) >> 3;
            break;
        }
    }
    return at < limit ? at : limit;
}

/* A length, less its base, in the lowest bits of an instruction; or 0 there and, in bytes behind it, what they lack. */
static inline void write_length(struct writer *writer, unsigned instruction, unsigned length, unsigned bits)
{
    unsigned most = (1u << bits) - 1;

    if (length <= most) {
        *writer->out++ = (uint8_t)(instruction | length);
        return;
    }
    *writer->out++ = (uint8_t)instruction;
    for (length -= most; length > 255; length -= 255)
        *writer->out++ = 0;
    *writer->out++ = (uint8_t)length;
}

/* Says how many literals follow. Before the first instruction there are more than three: see FIRST_START. */
static inline void write_count(struct writer *writer, unsigned literals)
{
    if (literals > LZO_LITERALS_IN_STATE)
        write_length(writer, LZO_LITERALS, literals - LZO_LITERALS_BASE, LZO_LITERALS_BITS);
    else if (literals > 0)
        *writer->state |= (uint8_t)literals;
}

static inline void write_literals(struct writer *writer, const uint8_t *literals, unsigned count)
{
    write_count(writer, count);
    for (unsigned copied = 0; copied < count; copied += COPIED_BYTES)
        memcpy(writer->out + copied, literals + copied, COPIED_BYTES);
    writer->out += count;
}

static inline void write_match(struct writer *writer, unsigned distance, unsigned length)
{
    unsigned rest = distance - 1;

    if (length <= LZO_NEAR_LENGTH && distance <= LZO_NEAR_DISTANCE) {
        writer->state = writer->out;
        *writer->out++ = (uint8_t)((length - 1) << 5 | (rest & 7) << 2);
        *writer->out++ = (uint8_t)(rest >> 3);
        return;
    }
    write_length(writer, LZO_FAR, length - LZO_MATCH_BASE, LZO_FAR_BITS);
    writer->state = writer->out;
    *writer->out++ = (uint8_t)(rest << 2);
    *writer->out++ = (uint8_t)(rest >> 6);
}

static inline void write_zero_run(struct writer *writer, unsigned length)
{
    unsigned rest = length - LZO_ZERO_RUN_BASE;

    *writer->out++ = (uint8_t)(LZO_ZERO_RUN | (rest & 7));
    writer->state = writer->out;
    *writer->out++ = 0xfc;
    *writer->out++ = 0xff;
    *writer->out++ = (uint8_t)(rest >> 3);
}

/* The literals behind the last match, whose 16th byte may lie outside of the page, and the end of the stream. */
static inline void write_end(struct writer *writer, const uint8_t *literals, unsigned count)
{
    write_count(writer, count);
    memcpy(writer->out, literals, count);
    writer->out += count;
    *writer->out++ = LZO_FARTHEST | LZO_END_LENGTH;
    *writer->out++ = 0;
    *writer->out++ = 0;
}

static inline int compress(
    uint16_t *seen_at, const uint8_t *page, const int page_bytes, uint8_t *stream, const bool zero_runs)
{
    const uint8_t *const end = page + page_bytes;
    const uint8_t *const search_end = end - MATCH_MARGIN;
    const uint8_t *unwritten = page;
    const uint8_t *at = page + FIRST_START;
    struct writer writer = { stream, NULL };

    if (zero_runs) {
        *writer.out++ = LZO_FIRST_BYTE;
        *writer.out++ = LZO_RLE_VERSION;
    }
    while (at < search_end) {
        uint32_t word = read_u32(at);
        bool is_run = zero_runs && word == 0;
        const uint8_t *match = NULL;

        if (!is_run) {
            uint16_t *seen = &seen_at[hash_of(word)];
            match = page + *seen;
            *seen = (uint16_t)(at - page);
            if (read_u32(match) != word) {
                at += 1 + ((at - unwritten) >> SKIP_SHIFT);
                continue;
            }
        }
        /* What follows adds less than 64 bytes to the literals: there is room for 128 behind a page's. */
        if (writer.out - stream + (at - unwritten) > page_bytes)
            return page_bytes;
        write_literals(&writer, unwritten, (unsigned)(at - unwritten));
        if (is_run) {
            unwritten = zeros_end(at, search_end);
            write_zero_run(&writer, (unsigned)(unwritten - at));
        } else {
            unwritten = match_end(at, match, search_end);
            write_match(&writer, (unsigned)(at - match), (unsigned)(unwritten - at));
        }
        at = unwritten;
    }
    if (writer.out - stream + (end - unwritten) > page_bytes)
        return page_bytes;
    write_end(&writer, unwritten, (unsigned)(end - unwritten));
    return writer.out - stream < page_bytes ? (int)(writer.out - stream) : page_bytes;
}

int lzo_page_compress(
    struct lzo_page_table *table, const uint8_t *page, int page_bytes, uint8_t *stream, bool zero_runs)
{
    memset(table, 0, sizeof(*table)); /* the page's beginning stands for what was not seen: it is compared anyway */
    if (zero_runs)
        return compress(table->seen_at, page, page_bytes, stream, true);
    return compress(table->seen_at, page, page_bytes, stream, false);
}
