# cython: language_level=3
"""The rule by which a run's stream is chosen, without state: `zcomp` asks it for each run, and acts on the answer."""


cpdef bint prefers_managed(int policy, bint is_async) noexcept nogil:
    """Whether a write would rather have a managed stream, where there are any."""
    return policy == ALL_MANAGED or (policy == AUTO and is_async)


cpdef int route(bint prefers_managed, bint may_poll, bint may_begin, bint is_refused, bint must_wait) noexcept nogil:
    """Where a run goes (a Route).

    `may_poll`: it is short, and the device would be done with it at once. `may_begin`: the caller can do without it
    until it is told of its end. `is_refused`: it was sent to a managed stream, and there is none for it; only then the
    manager is asked whether its callers `must_wait`.
    """
    if not prefers_managed:
        return TO_PERCPU
    if not is_refused:
        if may_poll:
            return TO_POLLED
        return TO_MANAGED if may_begin else TO_FALLBACK
    return TO_WAIT if may_begin and must_wait else TO_FALLBACK
