from libc.stdint cimport uint64_t

from zramfs.block.bio cimport Bio
from zramfs.block.disk cimport Disk
from zramfs.streams cimport Waiter

cdef enum:
    # A read of so many pages is worth a second thread: 64 pages take 35 to 100 µs, waking one of the crew about 10 µs.
    SHARED_READ_PAGES = 16
    SHARE_PAGES = 8             # of a read or write that several work on
    IN_ORDER_PAGES = 32         # a write of so many is not shared: its pages are stored in the kernel's order
    RUN_PAGES = 64              # the longest run that one stream gets: its first pages are committed, and their
                                # descriptors free again, while the engines work on the next
    DISCARD_PAGES = 2048        # freed in one go: about 0.2 ms

cdef void read_share(Bio *bio, int channel, uint64_t page, uint64_t end_page) noexcept nogil
cdef void write_share(Bio *bio, int channel, uint64_t page, uint64_t end_page) noexcept nogil
cdef bint write_run(Bio *bio, int channel) noexcept nogil
cdef bint write_some(Bio *bio, int channel) noexcept nogil
cdef bint punch_some(Bio *bio, int channel) noexcept nogil
cdef void resume_parked(Waiter *waiter) noexcept nogil
cdef void commit(Disk disk, Bio *bio, uint64_t page, void *stream) noexcept nogil
cdef void release_part(Bio *bio) noexcept nogil
