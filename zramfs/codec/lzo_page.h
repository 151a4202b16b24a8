/* One page to an LZO1X stream, with the matches that the kernel's LZO chooses, and any such stream to a page. */
#ifndef ZRAMFS_LZO_PAGE_H
#define ZRAMFS_LZO_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#define LZO_PAGE_HASH_BITS 13

/*
 * The format, as Documentation/staging/lzo.rst of Linux describes it. A stream is a row of instructions. Most copy a
 * match, from as far back in the page as their *distance* says, and then up to three literals, counted by their two
 * lowest bits S. L is a length and D a distance, less what the smallest one is; 16-bit distances are little-endian.
 */
enum {
    LZO_LITERALS = 0,               /* 0000 LLLL, behind no literals: 4 literals or more */
    LZO_LITERALS_BITS = 4,
    LZO_LITERALS_BASE = 3,
    LZO_LITERALS_IN_STATE = 3,      /* S counts up to so many */

    LZO_NEAR = 64,                  /* LLLD DDSS, DDDD DDDD, from 010: 3 to 8 bytes from within 2 KiB */
    LZO_NEAR_LENGTH = 8,
    LZO_NEAR_DISTANCE = 2048,

    LZO_FAR = 32,                   /* 001L LLLL, DDDD DDSS, DDDD DDDD: from within 16 KiB */
    LZO_FAR_BITS = 5,
    LZO_MATCH_BASE = 2,

    LZO_FARTHEST = 16,              /* 0001 DLLL, DDDD DDSS, DDDD DDDD: from farther, or one of the next two */
    LZO_FARTHEST_BITS = 3,
    LZO_END_LENGTH = 1,             /* with this L, and all D zero, the end of the stream */
    LZO_ZERO_RUN = 24,              /* with all D one: 0001 1LLL, 1111 11SS, 1111 1111, LLLL LLLL, the lowest L first */
    LZO_ZERO_RUN_BASE = 4,
    LZO_ZERO_RUN_LONGEST = 4 + 2047,

    LZO_FIRST_BYTE = 17,            /* a first byte that is larger counts literals from here, or: a version follows */
    LZO_RLE_VERSION = 1,            /* the only one so far; it has runs of zeros */
};

/* Scratch of one compressor: for each hash of four bytes, where they were seen last. Needs no initialisation. */
struct lzo_page_table {
    uint16_t seen_at[1 << LZO_PAGE_HASH_BITS];
};

/*
 * Compresses the `page_bytes` of `page` into `stream`, which has room for 4224, and returns the stream's length, or
 * `page_bytes` for a page that does not become shorter. `zero_runs`: for lzo-rle, else for lzo.
 */
int lzo_page_compress(
    struct lzo_page_table *table, const uint8_t *page, int page_bytes, uint8_t *stream, bool zero_runs);

/*
 * Decompresses a stream of either kind, of `length` bytes, into `page`. Returns 0, or -1 for what is no such stream,
 * or one of more or less than `page_bytes`: anything may be in `page` then.
 */
int lzo_page_decompress(const uint8_t *stream, int length, uint8_t *page, int page_bytes);

#endif
