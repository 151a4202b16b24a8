/* Preloaded: a system whose pages have LARGE_PAGE_BYTES. Everything else is the kernel's.
 *
 * As there, madvise begins with a page or is refused, and takes away whole pages. LARGE_PAGES_UNTOLD: sysconf tells of
 * 4096 bytes all the same, as it does where another architecture's program is translated. OLD_KERNEL: from before
 * Linux 5.18, and MADV_DONTNEED is refused, as it is for locked memory. Nobody may lock memory one by one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static size_t page_bytes(void) { return strtoul(getenv("LARGE_PAGE_BYTES"), NULL, 10); }

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    abort();
}

long sysconf(int name) {
    long (*real)(int) = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
    return name == _SC_PAGESIZE && !getenv("LARGE_PAGES_UNTOLD") ? (long)page_bytes() : real(name);
}

int madvise(void *address, size_t length, int advice) {
    size_t rest = page_bytes() - 1;
    int takes_away = advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED;
    if (takes_away && getenv("OLD_KERNEL"))
        return errno = EINVAL, -1;
    if (takes_away && !getenv("LARGE_PAGES_UNTOLD") && (((uintptr_t)address | length) & rest))
        fail("madvise takes away a part of a page");
    if ((uintptr_t)address & rest)
        return errno = EINVAL, -1;
    return (int)syscall(SYS_madvise, address, (length + rest) & ~rest, advice);
}

int mlock(const void *address, size_t length) {
    (void)address, (void)length;
    fail("mlock");
    return -1;
}

int mlock2(const void *address, size_t length, unsigned flags) {
    (void)flags;
    return mlock(address, length);
}
