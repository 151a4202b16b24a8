"""The entries of a queue of io_uring: what their payloads hold of memory, and when the system has it back."""

from itertools import pairwise
from typing import Any

import pytest

from zramfs.receive.entries import Entries

KIB, MIB = 1 << 10, 1 << 20
PAGE = 4096


@pytest.fixture
def entries(doors: Any) -> Entries:
    entries = Entries(40)
    assert doors.map_all(entries)
    return entries


def test_payloads_follow_each_other_a_page_more_than_their_size_apart(doors: Any, entries: Entries) -> None:
    places = [doors.payload_of(entries, number) for number in range(40)]
    assert {later - earlier for earlier, later in pairwise(places)} == {MIB + PAGE}


def test_a_payload_is_counted_up_to_where_it_was_written_to(doors: Any, entries: Entries) -> None:
    doors.touch_entry(entries, 0, 10 * KIB)
    doors.touch_entry(entries, 0, 4 * KIB)
    doors.touch_entry(entries, 1, 6 * KIB)
    assert entries.memory_bytes == 16 * KIB


def test_what_is_behind_so_many_bytes_is_forgotten_by_pages(doors: Any, entries: Entries) -> None:
    doors.touch_entry(entries, 0, 100 * KIB)
    doors.forget_entry(entries, 0, PAGE + 1)
    assert entries.memory_bytes == 2 * PAGE
    assert [doors.byte_of(entries, 0, at) for at in (2 * PAGE - 1, 2 * PAGE)] == [1, 0]


def test_a_reply_gives_memory_back_only_where_all_hold_more_than_32_mib(doors: Any, entries: Entries) -> None:
    for number in range(32):
        doors.touch_entry(entries, number, MIB)
    doors.make_room(entries, 0, 16)
    assert entries.memory_bytes == 32 * MIB
    doors.touch_entry(entries, 32, MIB)
    doors.make_room(entries, 0, 16)
    assert entries.memory_bytes == 32 * MIB + 64 * KIB


def test_a_reply_keeps_its_data(doors: Any, entries: Entries) -> None:
    for number in range(33):
        doors.touch_entry(entries, number, MIB)
    doors.make_room(entries, 0, 128 * KIB)
    assert entries.memory_bytes == 32 * MIB + 128 * KIB
    assert doors.byte_of(entries, 0, 128 * KIB - 1) == 1


def test_an_idle_mount_keeps_only_what_requests_under_way_have(doors: Any, entries: Entries) -> None:
    doors.touch_entry(entries, 0, MIB)
    doors.touch_entry(entries, 1, MIB, is_ours=True)
    doors.trim_entries(entries)
    assert entries.memory_bytes == MIB
    assert [doors.byte_of(entries, number, 0) for number in (0, 1)] == [0, 1]
