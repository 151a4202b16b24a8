# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A level over time, in at most 512 intervals: when they do not reach, two become one."""

from libc.stdint cimport int64_t


cdef class LevelSeries:
    """The level is 0 at time 0."""

    def __cinit__(self, int64_t interval_ns):
        if interval_ns < 1:
            raise ValueError(f"an interval of {interval_ns} ns")
        self.interval_ns = interval_ns

    cdef void change(self, int64_t now_ns, int64_t level) noexcept nogil:
        """Let the level be another from now on; times do not fall."""
        cdef int64_t interval
        self._advance(now_ns)
        self.level = level
        interval = now_ns // self.interval_ns
        self.maxima[interval] = max(self.maxima[interval], level)

    def set_level(self, int64_t now_ns, int64_t level):
        """Likewise, for tests."""
        if now_ns < self.changed_ns:
            raise ValueError(f"{now_ns} ns is before {self.changed_ns} ns")
        self.change(now_ns, level)

    cdef void _advance(self, int64_t now_ns) noexcept nogil:
        cdef int64_t interval, until_ns
        while now_ns // self.interval_ns >= INTERVALS:
            self._widen()
        while self.changed_ns < now_ns:
            interval = self.changed_ns // self.interval_ns
            until_ns = min(now_ns, (interval + 1) * self.interval_ns)
            self.areas[interval] += <double>self.level * (until_ns - self.changed_ns)
            self.maxima[interval] = max(self.maxima[interval], self.level)
            self.changed_ns = until_ns

    cdef void _widen(self) noexcept nogil:
        cdef int interval
        for interval in range(INTERVALS // 2):
            self.areas[interval] = self.areas[2 * interval] + self.areas[2 * interval + 1]
            self.maxima[interval] = max(self.maxima[2 * interval], self.maxima[2 * interval + 1])
        for interval in range(INTERVALS // 2, INTERVALS):
            self.areas[interval] = self.maxima[interval] = 0
        self.interval_ns *= 2

    def until(self, int64_t now_ns):
        """(means, maxima) of the intervals up to now; of the last one, by the part of it that has passed."""
        cdef int64_t interval, begin_ns
        if now_ns > self.changed_ns:
            self._advance(now_ns)
        means, maxima = [], []
        for interval in range((self.changed_ns + self.interval_ns - 1) // self.interval_ns):
            begin_ns = interval * self.interval_ns
            means.append(self.areas[interval] / min(self.interval_ns, self.changed_ns - begin_ns))
            maxima.append(self.maxima[interval])
        return means, maxima

    def __repr__(self):
        return f"<LevelSeries {self.level} at {self.changed_ns} ns, every {self.interval_ns} ns>"
