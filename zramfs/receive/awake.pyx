# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Tells whether a CPU is idle: a thread of the lowest priority (SCHED_IDLE) for each, which runs there for a moment.

The scheduler takes a CPU on which only such threads run for an idle one, and lets everybody else have it at once.
"""

import os
import threading

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from zramfs.atomic cimport exchange_int, fence, load_int, pause, peek_i64, peek_int, poke_i64, store_int
from zramfs.clock cimport monotonic_ns
from zramfs.threads cimport PR_SET_NAME, prctl

cdef extern from "<semaphore.h>" nogil:
    int sem_init(sem_t *semaphore, int is_shared, unsigned int value)
    int sem_destroy(sem_t *semaphore)
    int sem_post(sem_t *semaphore)
    int sem_wait(sem_t *semaphore)

cdef enum:
    PAUSES = 20             # between two looks at the clock
    # A thread that ran so lately has the CPU to itself.
    IDLE_NS = 15000
    # So long a CPU is somebody else's only while that one has work for it, and then it does not halt. SCHED_IDLE is
    # low among the threads of a session only (autogroup) or of a cgroup: beside a busy thread of another session
    # such a thread had between none and half of the CPU's time. So it leaves the CPU alone for a while.
    CROWDED_NS = 1000000
    LEAVE_NS = 100000000


cdef class Awake:
    """One thread for each of `cpus`, which sleep until they are asked for; none if not `starts` (tests)."""

    def __cinit__(self, cpus, *, starts=True):
        self.cpu_count = max(cpus, default=-1) + 1
        self.lamps = <Lamp *>calloc(max(self.cpu_count, 1), sizeof(Lamp))
        if self.lamps == NULL:
            raise MemoryError
        for cpu in range(self.cpu_count):
            sem_init(&self.lamps[<int>cpu].lit, 0, 0)

    def __init__(self, cpus, *, starts=True):
        self.threads = []
        for cpu in cpus if starts else ():
            thread = threading.Thread(target=self._run, args=(cpu,), name=f"awake-{cpu}", daemon=True)
            thread.start()
            self.threads.append(thread)

    def __dealloc__(self):
        if self.lamps != NULL:
            for cpu in range(self.cpu_count):
                sem_destroy(&self.lamps[<int>cpu].lit)
        free(self.lamps)

    def close(self):
        """End the threads."""
        store_int(&self.is_stopping, True)
        for cpu in range(self.cpu_count):
            sem_post(&self.lamps[<int>cpu].lit)
        for thread in self.threads:
            thread.join()
        self.threads = []

    def keep_awake(self, int cpu, int for_us):
        """Keep a CPU awake for so long (tests)."""
        cdef int64_t now_ns = monotonic_ns()
        self.keep(cpu, now_ns, now_ns + for_us * 1000)

    def see(self, int cpu, int64_t now_ns):
        """Let a CPU's thread have run now (tests)."""
        poke_i64(&self.lamps[cpu].seen_ns, now_ns)

    def is_burning(self, int cpu):
        """Whether the CPU's thread does not sleep."""
        return not peek_int(&self.lamps[cpu].is_out)

    cdef void keep(self, int cpu, int64_t now_ns, int64_t until_ns) noexcept nogil:
        """Keep a CPU awake until then, unless others have work for it."""
        cdef Lamp *lamp = &self.lamps[cpu]
        poke_i64(&lamp.until_ns, until_ns)
        if peek_int(&lamp.is_out) and now_ns >= peek_i64(&lamp.crowded_until_ns) and exchange_int(&lamp.is_out, False):
            sem_post(&lamp.lit)

    cdef bint is_idle(self, int cpu, int64_t now_ns) noexcept nogil:
        """Whether nobody else runs on a CPU that is kept awake."""
        return now_ns - peek_i64(&self.lamps[cpu].seen_ns) < IDLE_NS

    def _run(self, int cpu):
        cdef bytes name = b"zramfs-awake-%d" % cpu
        prctl(PR_SET_NAME, <const char *>name)
        os.sched_setaffinity(0, {cpu})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with nogil:
            self.burn(cpu)

    cdef void burn(self, int cpu) noexcept nogil:
        cdef Lamp *lamp = &self.lamps[cpu]
        cdef int64_t now_ns
        cdef int64_t seen_ns = 0
        cdef int i
        while not load_int(&self.is_stopping):
            now_ns = monotonic_ns()
            if seen_ns and now_ns - seen_ns > CROWDED_NS:
                poke_i64(&lamp.crowded_until_ns, now_ns + LEAVE_NS)
            if now_ns < peek_i64(&lamp.until_ns) and now_ns >= peek_i64(&lamp.crowded_until_ns):
                poke_i64(&lamp.seen_ns, now_ns)
                seen_ns = now_ns
                for i in range(PAUSES):
                    pause()
                continue
            store_int(&lamp.is_out, True)
            fence()
            sem_wait(&lamp.lit)
            seen_ns = 0

    def __repr__(self):
        burning = sum(self.is_burning(cpu) for cpu in range(self.cpu_count))
        return f"<Awake on {len(self.threads)} CPUs, {burning} at the moment>"
