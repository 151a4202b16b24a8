from libc.stdint cimport uint8_t

from zramfs.codec.run cimport CompressedRun
from zramfs.streams cimport Stream

cdef int clear_run(CompressedRun run, int pages) noexcept
cdef str flaw_of(Stream stream, const uint8_t *source, int taken)
cdef bint has_failed_pages(CompressedRun run, int taken) noexcept
