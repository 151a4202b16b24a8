from libc.stdint cimport int64_t, uint64_t

from zramfs.simulate.device cimport Run
from zramfs.simulate.devices cimport Devices
from zramfs.simulate.tasks cimport Request

# Which stream took pages: `runs.page_counts` names them.
cdef enum StreamKind:
    PERCPU
    MANAGED
    POLLED                  # of those as well
    FALLBACK
    REDONE                  # of those of a device
    READ_SOFTWARE
    READ_DEVICE
    STREAM_KINDS

cdef class Runs(Devices):
    cdef bint is_blocking, is_exponential
    cdef int run_pages
    cdef bint is_served                 # by a daemon's tasks, not by those that make the requests
    cdef double *compress_ns            # a page, by CPU
    cdef double *decompress_ns
    cdef double request_ns, page_ns, pin_ns, completion_ns, fetch_ns
    cdef uint64_t random
    cdef readonly int64_t now_ns
    cdef uint64_t pages[STREAM_KINDS]

    cdef int64_t _service(self, double mean_ns, int pages) noexcept nogil
    cdef bint _submit(self, int task, int device, int pages, bint is_polled) noexcept nogil
    cdef bint _command(self, int task, int device) noexcept nogil
    cdef bint _await_run(self, int task) noexcept nogil
    cdef bint _redo(self, int task) noexcept nogil
    cdef bint _store_run(self, int task) noexcept nogil
    cdef int64_t _page_time(self, int pages, bint is_read) noexcept nogil
    cdef int64_t _fetch_time(self, const Run *run) noexcept nogil
    cdef double _pin_time(self, const Request *request, bint is_callers) noexcept nogil
    cdef bint _run(self, int task, int64_t ns, int purpose, int state) noexcept nogil
    cdef int64_t _redo_ns(self, const Run *run, int cpu) noexcept nogil
    cdef void _count_pages(self, int kind, int pages) noexcept nogil
    cdef void _release(self, int device, int run) noexcept nogil
