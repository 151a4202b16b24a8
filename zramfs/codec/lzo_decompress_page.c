/*
 * An LZO1X decompressor for pages, written for zramfs from the description of the format alone, with runs of zeros.
 *
 * It takes any bytes. Each read is checked against the end of the stream and each write against the end of the page
 * before it is done, and nothing is copied from before the page's beginning.
 */

#include "lzo_page.h"

#include <string.h>

enum {
    SHORTEST_WITH_VERSION = 5,  /* the format: the first byte of a shorter stream is no version's */
    NONE = 0,                   /* of literals, the last instruction copied: none, */
    MANY = 4,                   /* one to three, or more than that */
};

/* A stream that is being read, and the page that it becomes. */
struct reader {
    const uint8_t *in;
    const uint8_t *in_end;
    const uint8_t *page;
    uint8_t *out;
    uint8_t *out_end;
};

static inline bool read_byte(struct reader *reader, unsigned *byte)
{
    if (reader->in == reader->in_end)
        return false;
    *byte = *reader->in++;
    return true;
}

static inline bool read_u16(struct reader *reader, unsigned *word)
{
    if (reader->in_end - reader->in < 2)
        return false;
    *word = reader->in[0] | (unsigned)reader->in[1] << 8;
    reader->in += 2;
    return true;
}

/* The length in the lowest bits of an instruction, and in bytes behind it if those are zero; a page's is enough. */
static inline bool read_length(struct reader *reader, unsigned instruction, unsigned bits, unsigned *length)
{
    unsigned most = (1u << bits) - 1;
    unsigned page_bytes = (unsigned)(reader->out_end - reader->page);
    unsigned byte = 0;

    *length = instruction & most;
    if (*length)
        return true;
    for (*length = most; *length <= page_bytes; *length += 255) {
        if (!read_byte(reader, &byte))
            return false;
        if (byte) {
            *length += byte;
            return true;
        }
    }
    return false;
}

static inline bool copy_literals(struct reader *reader, unsigned count)
{
    size_t in_left = (size_t)(reader->in_end - reader->in);
    size_t out_left = (size_t)(reader->out_end - reader->out);

    if (count > in_left || count > out_left)
        return false;
    if (count <= 16 && in_left >= 16 && out_left >= 16)
        memcpy(reader->out, reader->in, 16);
    else
        memcpy(reader->out, reader->in, count);
    reader->in += count;
    reader->out += count;
    return true;
}

/* A match may reach into what it writes. */
static inline bool copy_match(struct reader *reader, unsigned distance, unsigned length)
{
    size_t out_left = (size_t)(reader->out_end - reader->out);
    uint8_t *out = reader->out;

    if (distance > (size_t)(out - reader->page) || length > out_left)
        return false;
    const uint8_t *from = out - distance;
    if (distance >= 8 && out_left >= length + 8) {
        for (unsigned copied = 0; copied < length; copied += 8)
            memcpy(out + copied, from + copied, 8);
    } else if (distance == 1) {
        memset(out, *from, length);
    } else {
        for (unsigned copied = 0; copied < length; copied++)
            out[copied] = from[copied];
    }
    reader->out += length;
    return true;
}

static inline bool write_zeros(struct reader *reader, unsigned length)
{
    if (length > (size_t)(reader->out_end - reader->out))
        return false;
    memset(reader->out, 0, length);
    reader->out += length;
    return true;
}

/* A match of 3 to 8 bytes. `literals` becomes how many follow. */
static inline bool near_match(struct reader *reader, unsigned instruction, unsigned *literals)
{
    unsigned byte;

    if (!read_byte(reader, &byte))
        return false;
    *literals = instruction & 3;
    return copy_match(reader, (byte << 3 | (instruction >> 2 & 7)) + 1, (instruction >> 5) + 1);
}

static inline bool far_match(struct reader *reader, unsigned instruction, unsigned *literals)
{
    unsigned length, word;

    if (!read_length(reader, instruction, LZO_FAR_BITS, &length) || !read_u16(reader, &word))
        return false;
    *literals = word & 3;
    return copy_match(reader, (word >> 2) + 1, length + LZO_MATCH_BASE);
}

/* Two bytes from near, behind one to three literals; or three from beyond LZO_NEAR_DISTANCE, behind many. */
static inline bool short_match(struct reader *reader, unsigned instruction, unsigned *literals)
{
    unsigned byte;

    if (!read_byte(reader, &byte))
        return false;
    unsigned distance = byte << 2 | instruction >> 2;
    bool is_far = *literals == MANY;
    *literals = instruction & 3;
    return is_far ? copy_match(reader, distance + LZO_NEAR_DISTANCE + 1, 3) : copy_match(reader, distance + 1, 2);
}

static inline bool many_literals(struct reader *reader, unsigned instruction)
{
    unsigned length;

    return read_length(reader, instruction, LZO_LITERALS_BITS, &length)
        && copy_literals(reader, length + LZO_LITERALS_BASE);
}

/* Whether a run of zeros follows: its D are all one. */
static inline bool is_zero_run(const struct reader *reader, unsigned instruction)
{
    return instruction >= LZO_ZERO_RUN && reader->in_end - reader->in >= 3
        && reader->in[0] >= 0xfc && reader->in[1] == 0xff;
}

static inline bool zero_run(struct reader *reader, unsigned instruction, unsigned *literals)
{
    unsigned rest = (unsigned)reader->in[2] << 3 | (instruction & 7);

    *literals = reader->in[0] & 3;
    reader->in += 3;
    return write_zeros(reader, rest + LZO_ZERO_RUN_BASE);
}

/* Whether the stream ends here, and with it the page. */
static inline bool is_end(const struct reader *reader, unsigned instruction)
{
    return instruction == (LZO_FARTHEST | LZO_END_LENGTH) && reader->in_end - reader->in == 2
        && reader->in[0] == 0 && reader->in[1] == 0 && reader->out == reader->out_end;
}

/* The first byte of all may count literals. */
static inline bool first_literals(struct reader *reader, unsigned *literals)
{
    if (reader->in == reader->in_end || *reader->in <= LZO_FIRST_BYTE)
        return true;
    unsigned count = *reader->in++ - LZO_FIRST_BYTE;
    *literals = count < MANY ? count : MANY;
    return copy_literals(reader, count);
}

int lzo_page_decompress(const uint8_t *stream, int length, uint8_t *page, int page_bytes)
{
    struct reader reader = { stream, stream + length, page, page, page + page_bytes };
    bool has_version = length >= SHORTEST_WITH_VERSION && stream[0] == LZO_FIRST_BYTE;
    unsigned literals = NONE;
    unsigned instruction;

    if (has_version) {
        if (stream[1] != LZO_RLE_VERSION)
            return -1;
        reader.in += 2;
    }
    if (!first_literals(&reader, &literals))
        return -1;
    while (read_byte(&reader, &instruction)) {
        bool is_copied;

        if (instruction >= LZO_NEAR) {
            is_copied = near_match(&reader, instruction, &literals);
        } else if (instruction >= LZO_FAR) {
            is_copied = far_match(&reader, instruction, &literals);
        } else if (instruction >= LZO_FARTHEST) {
            /* Its matches are from farther than any page reaches. */
            if (!has_version || !is_zero_run(&reader, instruction))
                return is_end(&reader, instruction) ? 0 : -1;
            is_copied = zero_run(&reader, instruction, &literals);
        } else if (literals != NONE) {
            is_copied = short_match(&reader, instruction, &literals);
        } else {
            if (!many_literals(&reader, instruction))
                return -1;
            literals = MANY;
            continue;
        }
        if (!is_copied || !copy_literals(&reader, literals))
            return -1;
    }
    return -1;
}
