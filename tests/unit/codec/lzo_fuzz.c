/*
 * Random pages through both compressors and back, and random, damaged and made-up streams through the decompressor.
 * Compiled with sanitizers: each stream and page has memory of just its size, so that one byte too far is noticed.
 *
 *   lzo_fuzz ROUNDS SEED    a round has two pages and 16 streams; prints how many there were, and how many gave a page
 */

#include "lzo_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4096, ROOM = 4224, LONGEST_STREAM = 6000, STREAMS_A_ROUND = 16 };

static uint64_t state;

/* xorshift64*: a number below `limit`. */
static unsigned below(unsigned limit)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (unsigned)((state * 2685821657736338717u) >> 33) % limit;
}

static unsigned some_length(void)
{
    static const unsigned limits[] = { 4, 9, 20, 40, 300, 2060, 4096 };
    return 1 + below(limits[below(sizeof(limits) / sizeof(*limits))]);
}

/* Runs of zeros so short that they gain nothing, between literals whose last bytes differ. Returns their end. */
static unsigned make_expanding(uint8_t *page)
{
    unsigned groups = below(PAGE_BYTES / 8);

    for (unsigned group = 0; group < groups; group++) {
        memset(page + 8 * group, 0, 4);
        for (unsigned at = 4; at < 7; at++)
            page[8 * group + at] = (uint8_t)below(256);
        page[8 * group + 7] = (uint8_t)(group % 255 + 1);
    }
    return 8 * groups;
}

/* Literals, zeros, repeated bytes and matches from anywhere, of short and long lengths. */
static void make_page(uint8_t *page)
{
    unsigned shortest_only = below(3);

    for (unsigned at = below(8) ? 0 : make_expanding(page); at < PAGE_BYTES;) {
        unsigned length = shortest_only ? 1 + below(10) : some_length();
        unsigned kind = below(4), from = at ? below(at) : 0, byte = below(256);
        for (; length && at < PAGE_BYTES; length--, at++, from++)
            page[at] = (uint8_t)(kind == 0 ? below(256) : kind == 1 ? 0 : kind == 2 && at ? page[from] : byte);
    }
}

/* Instructions of the format with operands that are often within bounds. */
static unsigned make_stream(uint8_t *stream)
{
    static const uint8_t firsts[] = { 0, 4, 17, 18, 21, 24, 31, 32, 33, 63, 64, 96, 128, 255 };
    unsigned length = 1 + below(LONGEST_STREAM), at = 0;

    if (below(2)) {
        stream[at++] = 17;
        stream[at++] = (uint8_t)(below(8) ? 1 : below(256));
    }
    while (at < length) {
        unsigned kind = below(8);
        if (kind < 4)
            stream[at++] = firsts[below(sizeof(firsts))];
        else if (kind < 6)
            stream[at++] = (uint8_t)below(8);
        else
            stream[at++] = (uint8_t)below(256);
    }
    return at;
}

/* Turns bits of a stream over, leaves some bytes out, puts some in, or cuts the end off; or leaves it as it is. */
static unsigned damage(uint8_t *stream, unsigned length)
{
    for (unsigned times = below(4); times > 0 && length > 0; times--) {
        unsigned at = below(length), kind = below(8);
        if (kind < 4) {
            stream[at] ^= (uint8_t)(1u << below(8));
        } else if (kind < 6) {
            stream[at] = (uint8_t)below(256);
        } else if (kind == 6 && length < LONGEST_STREAM) {
            memmove(stream + at + 1, stream + at, length - at);
            length++;
        } else {
            length = below(2) ? at : length;
        }
    }
    return length;
}

static bool gives_page(const uint8_t *stream, unsigned length, uint8_t *page)
{
    uint8_t *exact = malloc(length ? length : 1);

    memcpy(exact, stream, length);
    bool is_page = lzo_page_decompress(exact, (int)length, page, PAGE_BYTES) == 0;
    free(exact);
    return is_page;
}

/* Compresses a page; whatever became shorter must come back. Returns the stream's length, or 0. */
static unsigned there_and_back(struct lzo_page_table *table, const uint8_t *page, uint8_t *stream, bool zero_runs)
{
    uint8_t *room = malloc(ROOM), *back = malloc(PAGE_BYTES);
    int length = lzo_page_compress(table, page, PAGE_BYTES, room, zero_runs);

    if (length <= 0 || length > PAGE_BYTES)
        abort();
    if (length < PAGE_BYTES && (!gives_page(room, (unsigned)length, back) || memcmp(page, back, PAGE_BYTES)))
        abort();
    memcpy(stream, room, (size_t)length);
    free(room);
    free(back);
    return length < PAGE_BYTES ? (unsigned)length : 0;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    unsigned long rounds = strtoul(arguments[1], NULL, 10), pages = 0;
    state = strtoull(arguments[2], NULL, 10) * 2 + 1;
    uint8_t *page = malloc(PAGE_BYTES), *back = malloc(PAGE_BYTES);
    struct lzo_page_table *table = malloc(sizeof(*table));

    for (unsigned long round = 0; round < rounds; round++) {
        uint8_t compressed[2][PAGE_BYTES], stream[LONGEST_STREAM + 2];
        unsigned lengths[2];

        make_page(page);
        for (unsigned kind = 0; kind < 2; kind++)
            lengths[kind] = there_and_back(table, page, compressed[kind], kind);
        for (unsigned number = 0; number < STREAMS_A_ROUND; number++) {
            unsigned length = lengths[number % 2];
            if (number < 12 && length) {
                memcpy(stream, compressed[number % 2], length);
                length = damage(stream, length);
            } else {
                length = make_stream(stream);
            }
            pages += gives_page(stream, length, back);
        }
    }
    printf("%lu streams, %lu pages\n", rounds * STREAMS_A_ROUND, pages);
    free(page);
    free(back);
    free(table);
    return 0;
}
