from libc.stdint cimport uint64_t

from zramfs.device.slots cimport GROUP_SLOTS, SlotTable

cdef enum:
    SLICE_STEPS = 8192          # up to 0.1 ms

cdef inline bint is_group_empty(SlotTable table, uint64_t page) noexcept:
    """Whether nothing in the page's group is in use; then its slots need not be touched, which costs memory."""
    return table.group_use[page // GROUP_SLOTS] == 0

cdef inline uint64_t next_group(uint64_t page) noexcept:
    return (page // GROUP_SLOTS + 1) * GROUP_SLOTS
