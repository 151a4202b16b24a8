"""The kernel's mm_stat and io_stat, under its names: the device fills them in, verbs and the library read them."""

from typing import NamedTuple


class MmStat(NamedTuple):
    """Sizes in bytes, and from `same_pages` on counts of pages of 4096 bytes; the fields are in the file's order."""

    orig_data_size: int
    compr_data_size: int
    mem_used_total: int
    mem_limit: int
    mem_used_max: int
    same_pages: int
    pages_compacted: int
    huge_pages: int
    huge_pages_since: int


class IoStat(NamedTuple):
    """Requests that failed, and pages that a discard or swap has freed."""

    failed_reads: int
    failed_writes: int
    notify_free: int
