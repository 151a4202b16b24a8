"""Recompression: objects become smaller by algorithms that take longer, on streams of these that are the event loop's.

Requests go on meanwhile, and other tasks have their turn between two pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic_ns
from typing import Final

import trio

from zramfs.block.candidates import Candidates
from zramfs.block.disk import Disk
from zramfs.block.page_upkeep import (
    clear_idle,
    load_candidate,
    mark_incompressible,
    object_bytes,
    priority,
    recompress_page,
)
from zramfs.units import PAGE_SIZE
from zramfs.zcomp.zcomp import PercpuStream

_TURN_NS: Final = 200_000
"""How long pages are recompressed before others have their turn; the last one takes as long as it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recompression:
    """What to recompress, and by what: pages that are idle or huge if asked for, of `threshold_bytes` or more.

    Algorithms are tried from `first_priority` to before `end_priority`; `most_pages` are tried, None for all.
    """

    first_priority: int
    end_priority: int
    idle: bool = False
    huge: bool = False
    threshold_bytes: int = 0
    most_pages: int | None = None


async def recompress(disk: Disk, streams: Mapping[int, PercpuStream], wanted: Recompression) -> None:
    """Recompress the pages that are wanted, the largest objects first (recompress_store); one call at a time.

    `streams` are those of the secondary algorithms, by priority. Raises ZramError at a page that its old codec cannot
    read or the new one fails on, or when there is no memory left: that page and those behind it stay as they are.
    """
    candidates = Candidates(disk.table)
    page = 0
    while page < disk.table.page_count:
        page = candidates.add_some(
            page,
            disk.table.page_count,
            idle=wanted.idle,
            huge=wanted.huge,
            below_priority=wanted.end_priority,
        )
        await trio.lowlevel.checkpoint()
    contents = bytearray(PAGE_SIZE)
    tried_pages = 0
    turn_ends_ns = monotonic_ns() + _TURN_NS
    while tried_pages != wanted.most_pages and (candidate := candidates.next()) is not None:
        tried_pages += _recompress_page(disk, streams, wanted, candidate, contents)
        if monotonic_ns() > turn_ends_ns:
            await trio.lowlevel.checkpoint()
            turn_ends_ns = monotonic_ns() + _TURN_NS


def _recompress_page(
    disk: Disk, streams: Mapping[int, PercpuStream], wanted: Recompression, page: int, contents: bytearray
) -> bool:
    """Try algorithms in order of their priorities, until one saves memory; False if it is not worth trying.

    Whatever is done to a page that somebody else accesses meanwhile, it stays as that one leaves it.
    """
    table = disk.table
    if object_bytes(table, page) < wanted.threshold_bytes or not load_candidate(table, page, contents, disk.own_codecs):
        return False
    clear_idle(table, page)
    for each in range(max(wanted.first_priority, priority(table, page) + 1), wanted.end_priority):
        if each in streams and recompress_page(table, page, streams[each], contents, each, wanted.threshold_bytes):
            return True
    if wanted.end_priority > max(streams):
        mark_incompressible(table, page)
    return True
