# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The per-CPU streams, and who waits for them: today's mutex, the split into two, and streams that hold their CPU."""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from zramfs.simulate.heap cimport NOBODY
from zramfs.simulate.requests cimport Requests
from zramfs.simulate.tasks cimport LOCKS, READ, Task

from zramfs.simulate.scenario import PercpuKind


cdef class StreamLocks(Requests):
    """A stream for each CPU, of a PercpuKind."""

    def __cinit__(self, flows, *args, int cpus, percpu_kind, **kwargs):
        cdef int number
        self.lock_count = 2 * cpus
        self.locks = <StreamLock *>calloc(self.lock_count, sizeof(StreamLock))
        if self.locks == NULL:
            raise MemoryError
        self.is_split = percpu_kind is PercpuKind.SPLIT
        self.keeps_cpu = percpu_kind is PercpuKind.NONPREEMPTIBLE
        for number in range(self.lock_count):
            self.locks[number].owner = self.locks[number].first_waiting = NOBODY

    def __dealloc__(self):
        free(self.locks)

    cdef StreamLock *lock_of(self, int task) noexcept nogil:
        """The lock of the stream that a task's request needs on its CPU."""
        cdef bint is_other = self.is_split and self.requests[self.tasks[task].request].kind == READ
        return &self.locks[2 * self.tasks[task].cpu + is_other]

    cdef bint lock(self, int64_t now_ns, int task) noexcept nogil:
        """Take the stream; False: the task sleeps, and tries again when it is woken."""
        cdef StreamLock *lock = self.lock_of(task)
        cdef Task *own = &self.tasks[task]
        cdef bint was_waiting = lock.first_waiting == task
        if lock.owner == NOBODY or lock.owner == task:
            lock.owner = task
            if was_waiting:
                lock.first_waiting = own.next_waiting
                self._count_wait(now_ns - own.since_ns)
            self.cpus.runners[task].keeps_cpu = self.keeps_cpu
            return True
        if was_waiting:
            lock.hands_over = True
        else:
            own.since_ns = now_ns
            own.next_waiting = NOBODY
            if lock.first_waiting == NOBODY:
                lock.first_waiting = task
            else:
                self.tasks[lock.last_waiting].next_waiting = task
            lock.last_waiting = task
        self.sleep(task, LOCKS)
        return False

    cdef void unlock(self, int64_t now_ns, int task) noexcept nogil:
        """Let the stream go, and wake the first who waits for it."""
        cdef StreamLock *lock = self.lock_of(task)
        cdef int first = lock.first_waiting
        self.cpus.runners[task].keeps_cpu = False
        lock.owner = NOBODY
        if first == NOBODY:
            return
        if lock.hands_over:
            lock.owner = first
            lock.hands_over = False
        if self.tasks[first].is_asleep:
            self.wake(now_ns, first)

    cdef void _count_wait(self, int64_t ns) noexcept nogil:
        if self.is_measured:
            self.wait_count += 1
            self.wait_ns += ns
            self.longest_wait_ns = max(self.longest_wait_ns, ns)
