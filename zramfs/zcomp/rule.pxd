# A stream policy, as numbers: StreamPolicy in `contracts`.
cdef enum Policy:
    AUTO = 0        # asynchronous writes prefer managed streams
    ALL_MANAGED = 1
    ALL_PERCPU = 2

# Where a run goes.
cdef enum Route:
    TO_PERCPU = 0       # to the stream of this CPU, which compresses at once
    TO_POLLED = 1       # to a managed stream, and it is complete when that returns
    TO_MANAGED = 2      # to a managed stream, and its end is told later
    TO_FALLBACK = 3     # to the stream of this CPU, as no managed stream can have it
    TO_WAIT = 4         # nowhere yet: a managed stream becomes free later

cpdef bint prefers_managed(int policy, bint is_async) noexcept nogil
cpdef int route(bint prefers_managed, bint may_poll, bint may_begin, bint is_refused, bint must_wait) noexcept nogil
