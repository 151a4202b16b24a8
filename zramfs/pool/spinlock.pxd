# A lock for sections of some 20 ns that a thread holds without waiting for anything, a system call included.
#
# One exchange takes it and a plain store gives it back. A holder that lost its CPU is not waited for in a loop alone:
# after SPINS looks others have their turn on this CPU, and after YIELDS of those the thread sleeps, lest one of a
# higher priority keeps the holder from running.

from libc.stdint cimport uint64_t

from zramfs.atomic cimport exchange_u64, pause, peek_u64, poke_u64, store_u64

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int microseconds)

cdef enum:
    SPINS = 64
    YIELDS = 64
    NAP_US = 50

cdef struct SpinLock:
    uint64_t word       # 1 while somebody holds it
    uint64_t waits      # how often somebody had to wait; its holder changes it

cdef inline void take_lock(SpinLock *lock) noexcept nogil:
    if exchange_u64(&lock.word, 1):
        wait_for_lock(lock)

cdef inline void give_lock(SpinLock *lock) noexcept nogil:
    store_u64(&lock.word, 0)

cdef inline void wait_for_lock(SpinLock *lock) noexcept nogil:
    cdef int looks = 0
    while peek_u64(&lock.word) or exchange_u64(&lock.word, 1):
        looks += 1
        if looks % SPINS:
            pause()
        elif looks < SPINS * YIELDS:
            sched_yield()
        else:
            usleep(NAP_US)
    poke_u64(&lock.waits, lock.waits + 1)
