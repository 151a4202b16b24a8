/* One page to an LZ4 block that may refer to a dictionary, with the matches that the kernel's LZ4 chooses. */
#ifndef ZRAMFS_LZ4_DICTIONARY_PAGE_H
#define ZRAMFS_LZ4_DICTIONARY_PAGE_H

#include <stdint.h>

#define LZ4_DICTIONARY_PAGE_HASH_BITS 12
#define LZ4_DICTIONARY_MOST_BYTES (64 << 10)

/* For each hash of five bytes, where they were seen last; 0 where they were not. */
struct lz4_positions {
    uint32_t seen_at[1 << LZ4_DICTIONARY_PAGE_HASH_BITS];
};

/* Shared and fixed once it is loaded. `content` is somebody else's memory. */
struct lz4_dictionary {
    const uint8_t *content;
    uint32_t bytes;
    struct lz4_positions positions;
};

/* Finds out where the dictionary, of at most LZ4_DICTIONARY_MOST_BYTES, has what. */
void lz4_dictionary_load(struct lz4_dictionary *dictionary, const uint8_t *content, uint32_t bytes);

/*
 * Compresses the `page_bytes` of `page` into `block`, which has room for 4224, and returns the block's length.
 * `scratch` needs no initialisation; `acceleration` is LZ4's.
 */
int lz4_dictionary_compress(
    const struct lz4_dictionary *dictionary, struct lz4_positions *scratch, const uint8_t *page, int page_bytes,
    uint8_t *block, unsigned acceleration);

#endif
