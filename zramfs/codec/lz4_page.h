/* One page to an LZ4 block, with the matches that the kernel's LZ4 chooses. */
#ifndef ZRAMFS_LZ4_PAGE_H
#define ZRAMFS_LZ4_PAGE_H

#include <stdint.h>

#define LZ4_PAGE_HASH_BITS 13

/* Scratch of one compressor: for each hash of four bytes, where they were seen last. Needs no initialisation. */
struct lz4_page_table {
    uint16_t seen_at[1 << LZ4_PAGE_HASH_BITS];
};

/*
 * Compresses the `page_bytes` of `page` into `block`, which has room for 4224, and returns the block's length.
 * `acceleration` is LZ4's: 1 searches at every byte, more skips faster where nothing is found.
 */
int lz4_page_compress(
    struct lz4_page_table *table, const uint8_t *page, int page_bytes, uint8_t *block, unsigned acceleration);

#endif
