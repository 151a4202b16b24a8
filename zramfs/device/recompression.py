"""Recompression: objects become smaller by algorithms that take longer, on the per-CPU streams of these.

A page is done in one step for everybody else, and others have their turn between.
"""

from dataclasses import dataclass
from time import monotonic_ns
from typing import Final

import trio

from zramfs.device.candidates import Candidates
from zramfs.device.page_store import PageStore
from zramfs.device.replacement import (
    clear_idle,
    commit_recompressed,
    load_candidate,
    mark_incompressible,
    object_bytes,
    priority,
)
from zramfs.units import PAGE_SIZE

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


async def recompress(store: PageStore, wanted: Recompression) -> None:
    """Recompress the pages that are wanted, the largest objects first (recompress_store); one call at a time.

    Raises ZramError at a page that its old codec cannot read or the new one fails on, or when there is no memory left:
    that page and those behind it stay as they are.
    """
    candidates = Candidates(store.slots)
    page = 0
    while page < store.slots.page_count:
        page = candidates.add_some(
            page,
            store.slots.page_count,
            idle=wanted.idle,
            huge=wanted.huge,
            below_priority=wanted.end_priority,
        )
        await trio.lowlevel.checkpoint()
    contents = bytearray(PAGE_SIZE)
    tried_pages = 0
    turn_ends_ns = monotonic_ns() + _TURN_NS
    while tried_pages != wanted.most_pages and (candidate := candidates.next()) is not None:
        tried_pages += _recompress_page(store, wanted, candidate, contents)
        if monotonic_ns() > turn_ends_ns:
            await trio.lowlevel.checkpoint()
            turn_ends_ns = monotonic_ns() + _TURN_NS


def _recompress_page(store: PageStore, wanted: Recompression, page: int, contents: bytearray) -> bool:
    """Try algorithms in order of their priorities, until one saves memory; False if it is too small for that."""
    slots = store.slots
    if object_bytes(slots, page) < wanted.threshold_bytes:
        return False
    load_candidate(slots, page, contents, store.codecs)
    clear_idle(slots, page)
    for each in range(max(wanted.first_priority, priority(slots, page) + 1), wanted.end_priority):
        if each in store.secondaries and _try_algorithm(store, wanted, page, contents, each):
            return True
    if wanted.end_priority > max(store.secondaries):
        mark_incompressible(slots, page)
    return True


def _try_algorithm(store: PageStore, wanted: Recompression, page: int, contents: bytearray, each: int) -> bool:
    stream = store.secondaries[each]
    stream.submit(contents, 0, 1)
    try:
        return commit_recompressed(store.slots, page, stream.run, each, wanted.threshold_bytes)
    finally:
        stream.run.release()
