/* Words of a page, at any address. */

#ifndef ZRAMFS_WORDS_H
#define ZRAMFS_WORDS_H

#include <stdint.h>
#include <string.h>

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

#endif
