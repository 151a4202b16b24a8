from libc.stdint cimport int64_t

from zramfs.simulate.emulated cimport EmulatedEngines

cdef class DaemonEngine(EmulatedEngines):
    cdef int shared_read_pages, one_go_pages
    cdef int64_t slice_ns, turn_ns
    cdef int64_t slice_ends_ns, turn_ends_ns
    cdef double receive_ns, copy_ns

    cdef int _set_up_servers(self, scenario, devices) except -1
    cdef bint _serve(self, int task) noexcept nogil
    cdef int64_t _spin_time(self) noexcept nogil
    cdef bint _is_time_for_backlog(self) noexcept nogil
    cdef bint _receive(self, int task) noexcept nogil
    cdef bint _begin_request(self, int task) noexcept nogil
    cdef bint _answer(self, int task) noexcept nogil
    cdef bint _end_step(self, int task) noexcept nogil
    cdef bint _look_on(self, int task) noexcept nogil
