/*
 * Measures our LZO beside liblzo2's: µs a page both ways, medians of 11 rounds in which each has its turn.
 *
 *   gcc -O2 -Izramfs/codec -o /tmp/measure_lzo scripts/measure_lzo.c zramfs/codec/lzo_*_page.c -l:liblzo2.so.2
 *   head -qc 256K /usr/bin/* | head -c 32M > /tmp/programs
 *   /tmp/measure_lzo /tmp/programs    the first 8192 pages of a file
 */

#include "lzo_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PAGE_BYTES = 4096, PAGES = 8192, ROUNDS = 11, ROOM = 5000, LIBLZO2 = 0, LZO, LZO_RLE, KINDS };

extern int lzo1x_1_compress(const uint8_t *page, size_t bytes, uint8_t *stream, size_t *length, void *memory);
extern int lzo1x_decompress_safe(const uint8_t *stream, size_t length, uint8_t *page, size_t *bytes, void *memory);

static uint8_t pages[PAGES][PAGE_BYTES], streams[KINDS][PAGES][ROOM], memory[1 << 17];
static int lengths[KINDS][PAGES];
static struct lzo_page_table table;

static double now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void compress(int kind, size_t page)
{
    size_t length = 0;

    if (kind != LIBLZO2) {
        lengths[kind][page] = lzo_page_compress(&table, pages[page], PAGE_BYTES, streams[kind][page], kind == LZO_RLE);
        return;
    }
    lzo1x_1_compress(pages[page], PAGE_BYTES, streams[kind][page], &length, memory);
    lengths[kind][page] = (int)length;
}

static void decompress(int kind, size_t page)
{
    static uint8_t out[PAGE_BYTES];
    size_t bytes = sizeof(out);
    int length = lengths[kind][page];

    if (length >= PAGE_BYTES)
        return;
    if (kind != LIBLZO2 ? lzo_page_decompress(streams[kind][page], length, out, PAGE_BYTES) :
                          lzo1x_decompress_safe(streams[kind][page], (size_t)length, out, &bytes, NULL))
        abort();
}

static double us_a_page(void (*work)(int, size_t), int kind, size_t count)
{
    double begin = now_us();
    for (size_t page = 0; page < count; page++)
        work(kind, page);
    return (now_us() - begin) / (double)count;
}

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof(*values), by_size);
    return values[ROUNDS / 2];
}

int main(int count, char **arguments)
{
    static const char *const names[KINDS] = { "liblzo2", "lzo", "lzo-rle" };
    double there[KINDS][ROUNDS], back[KINDS][ROUNDS];
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    size_t read = file ? fread(pages, PAGE_BYTES, PAGES, file) : 0;

    if (read == 0) {
        fprintf(stderr, "measure_lzo: needs a file with pages\n");
        return 2;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int kind = 0; kind < KINDS; kind++)
            there[kind][round] = us_a_page(compress, kind, read);
        for (int kind = 0; kind < KINDS; kind++)
            back[kind][round] = us_a_page(decompress, kind, read);
    }
    for (int kind = 0; kind < KINDS; kind++)
        printf("%s: compress %.1f us, decompress %.1f us (%zu pages)\n", names[kind], median(there[kind]),
               median(back[kind]), read);
    return 0;
}
