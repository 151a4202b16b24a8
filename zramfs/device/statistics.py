"""What a device tells of itself, under the kernel's names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MmStat:
    """`mm_stat`: bytes, but for the last four, which count pages. Names are the kernel's."""

    orig_data_size: int
    compr_data_size: int
    mem_used_total: int
    mem_limit: int
    mem_used_max: int
    same_pages: int
    pages_compacted: int
    huge_pages: int
    huge_pages_since: int


@dataclass(frozen=True, slots=True)
class IoStat:
    """`io_stat`: requests that failed, and pages freed by discards."""

    failed_reads: int
    failed_writes: int
    notify_free: int
