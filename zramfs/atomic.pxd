# Atomic operations on plain words that more than one thread touches: GCC's built-ins, which ThreadSanitizer knows.
#
# `peek` and `poke` are relaxed, for counters that one thread changes and others show; `count` adds relaxed as well, for
# counters that several change. `load` acquires and `store` releases; `check`, `add`, `exchange` and `compare_exchange`
# are sequentially consistent, and so is `fence`. `pause` tells the CPU that its thread spins. `expect_write` has it
# fetch a line of the cache that will be written to soon; any address will do.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #ifndef ZRAMFS_ATOMIC
    #define ZRAMFS_ATOMIC
    #define zramfs_peek(p) __atomic_load_n(p, __ATOMIC_RELAXED)
    #define zramfs_poke(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
    #define zramfs_count(p, n) __atomic_add_fetch(p, n, __ATOMIC_RELAXED)
    #define zramfs_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
    #define zramfs_check(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
    #define zramfs_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
    #define zramfs_add(p, n) __atomic_add_fetch(p, n, __ATOMIC_SEQ_CST)
    #define zramfs_exchange(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
    #define zramfs_or(p, v) __atomic_fetch_or(p, v, __ATOMIC_ACQUIRE)
    #define zramfs_and(p, v) __atomic_fetch_and(p, v, __ATOMIC_RELEASE)
    #define zramfs_expect(p) __builtin_prefetch(p, 1)
    #define zramfs_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    static inline int zramfs_cas64(uint64_t *p, uint64_t *expected, uint64_t v) {
        return __atomic_compare_exchange_n(p, expected, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    #if defined(__x86_64__) || defined(__i386__)
    #define zramfs_pause() __builtin_ia32_pause()
    #elif defined(__aarch64__)
    #define zramfs_pause() __asm__ __volatile__("yield")
    #else
    #define zramfs_pause() ((void)0)
    #endif
    #endif
    """
    uint64_t peek_u64 "zramfs_peek"(const uint64_t *word)
    int64_t peek_i64 "zramfs_peek"(const int64_t *word)
    uint32_t peek_u32 "zramfs_peek"(const uint32_t *word)
    uint16_t peek_u16 "zramfs_peek"(const uint16_t *word)
    uint8_t peek_u8 "zramfs_peek"(const uint8_t *word)
    int peek_int "zramfs_peek"(const int *word)
    void poke_u64 "zramfs_poke"(uint64_t *word, uint64_t value)
    void poke_i64 "zramfs_poke"(int64_t *word, int64_t value)
    void poke_u32 "zramfs_poke"(uint32_t *word, uint32_t value)
    void poke_u8 "zramfs_poke"(uint8_t *word, uint8_t value)
    void poke_int "zramfs_poke"(int *word, int value)
    uint64_t count_u64 "zramfs_count"(uint64_t *word, uint64_t more)
    int64_t count_i64 "zramfs_count"(int64_t *word, int64_t more)
    uint16_t count_u16 "zramfs_count"(uint16_t *word, uint16_t more)
    uint64_t load_u64 "zramfs_load"(const uint64_t *word)
    int64_t load_i64 "zramfs_load"(const int64_t *word)
    uint32_t load_u32 "zramfs_load"(const uint32_t *word)
    int load_int "zramfs_load"(const int *word)
    int check_int "zramfs_check"(const int *word)
    void store_u64 "zramfs_store"(uint64_t *word, uint64_t value)
    void store_i64 "zramfs_store"(int64_t *word, int64_t value)
    void store_u32 "zramfs_store"(uint32_t *word, uint32_t value)
    void store_u8 "zramfs_store"(uint8_t *word, uint8_t value)
    void store_int "zramfs_store"(int *word, int value)
    uint64_t add_u64 "zramfs_add"(uint64_t *word, uint64_t more)
    int64_t add_i64 "zramfs_add"(int64_t *word, int64_t more)
    uint32_t add_u32 "zramfs_add"(uint32_t *word, uint32_t more)
    int add_int "zramfs_add"(int *word, int more)
    uint64_t exchange_u64 "zramfs_exchange"(uint64_t *word, uint64_t value)
    int exchange_int "zramfs_exchange"(int *word, int value)
    uint8_t fetch_or_u8 "zramfs_or"(uint8_t *word, uint8_t bits)        # acquires: for lock bits
    uint8_t fetch_and_u8 "zramfs_and"(uint8_t *word, uint8_t bits)      # releases: likewise
    bint compare_exchange_u64 "zramfs_cas64"(uint64_t *word, uint64_t *expected, uint64_t value)
    void *load_pointer "zramfs_load"(void *const *word)
    void store_pointer "zramfs_store"(void **word, void *value)
    void fence "zramfs_fence"()
    void expect_write "zramfs_expect"(const void *word)
    void pause "zramfs_pause"()
