# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Who waits for a stream while all are taken, and is called, in order, when there is one again."""

from zramfs.accel.modelled cimport ModelledQueue
from zramfs.atomic cimport peek_int
from zramfs.streams cimport Waiter
from zramfs.threads cimport pthread_mutex_lock, pthread_mutex_unlock


cdef class StreamWaiters:
    """The waiters of the streams over `queue`, whose lock protects them. Call all but `must_wait` without it."""

    def __cinit__(self, ModelledQueue queue not None):
        self.queue = queue

    cdef bint must_wait(self) noexcept nogil:
        """Whether a caller that got no stream waits for one. It needs no lock."""
        return peek_int(&self.waits) and peek_int(&self.queue.is_open)

    cdef bint add(self, Waiter *waiter) noexcept nogil:
        """Have `waiter` called when it is worth asking for a stream again; False: it is worth it by now."""
        cdef bint waits = False
        cdef bint is_there = False
        pthread_mutex_lock(&self.queue.lock)
        if waiter.ticket:  # it was called in vain
            count_asked(&self.waiting)
        if self.must_wait():
            self._forget_called()
            is_there = self._free_for_waiters() > 0
            waits = not (is_there and is_next(&self.waiting, waiter))
            if waits:
                add_waiter(&self.waiting, waiter)
            else:
                self.waiting.called += 1
        pthread_mutex_unlock(&self.queue.lock)
        if waits and is_there:  # for somebody else
            self.call()
        return waits

    cdef void call(self) noexcept nogil:
        """Call those who wait while there is something to have. What they do may lead here again."""
        cdef Waiter *waiter
        pthread_mutex_lock(&self.queue.lock)
        if not self.is_calling:
            self.is_calling = True
            self._forget_called()
            while self.waiting.first != NULL and (self._free_for_waiters() > 0 or not self.must_wait()):
                waiter = take_waiter(&self.waiting)
                self.waiting.called += self.must_wait()
                pthread_mutex_unlock(&self.queue.lock)
                waiter.call(waiter)
                pthread_mutex_lock(&self.queue.lock)
            self.is_calling = False
        pthread_mutex_unlock(&self.queue.lock)

    cdef int _free_for_waiters(self) noexcept nogil:
        return self.queue.descriptors.free_count - self.waiting.called

    cdef void _forget_called(self) noexcept nogil:
        """Of an idle device there is a stream for everybody, whether or not those who were called still want one."""
        if self.queue.descriptors.free_count == self.queue.descriptors.depth:
            self.waiting.called = 0
