"""Buffers for requests from /dev/fuse: which one is taken next, and what is kept of those that nobody uses."""

from typing import Any

import pytest

from zramfs.receive.buffers import BufferPool

MIB = 1 << 20
PAGE = 4096


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool()


def test_the_buffer_that_was_given_last_is_taken_first(doors: Any, pool: BufferPool) -> None:
    first, second = doors.take(pool), doors.take(pool)
    assert first != second
    doors.give(pool, first)
    doors.give(pool, second)
    assert [doors.take(pool), doors.take(pool)] == [second, first]
    assert pool.mapped_buffers == 2
    for buffer in (first, second):
        doors.give(pool, buffer)


def test_data_begins_on_a_page_right_behind_its_message(doors: Any, pool: BufferPool) -> None:
    buffer = doors.take(pool)
    message, data = doors.places(buffer)
    assert data % PAGE == 0
    assert data - message == 40 + 40  # fuse_in_header and fuse_write_in
    doors.give(pool, buffer)


def test_unused_buffers_hold_32_mib_at_the_most(doors: Any, pool: BufferPool) -> None:
    buffers = [doors.take(pool) for _ in range(40)]
    for buffer in buffers:
        doors.touch(buffer, MIB)
        doors.give(pool, buffer)
    assert (pool.mapped_buffers, pool.unused_memory_bytes) == (32, 32 * MIB)


def test_an_idle_mount_keeps_2_mib(doors: Any, pool: BufferPool) -> None:
    buffers = [doors.take(pool) for _ in range(8)]
    for buffer in buffers:
        doors.touch(buffer, MIB)
        doors.give(pool, buffer)
    doors.trim(pool)
    assert (pool.mapped_buffers, pool.unused_memory_bytes) == (2, 2 * MIB)


def test_buffers_in_use_are_not_counted_as_unused(doors: Any, pool: BufferPool) -> None:
    buffer = doors.take(pool)
    doors.touch(buffer, MIB)
    assert pool.unused_memory_bytes == 0
    doors.give(pool, buffer)
    assert pool.unused_memory_bytes == MIB
    assert doors.take(pool) == buffer
    assert pool.unused_memory_bytes == 0
    doors.give(pool, buffer)


@pytest.mark.parametrize(("kept_bytes", "touched_bytes"), [(0, 0), (1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE)])
def test_memory_behind_the_data_goes_back_by_pages(
    doors: Any, pool: BufferPool, kept_bytes: int, touched_bytes: int
) -> None:
    buffer = doors.take(pool)
    doors.touch(buffer, MIB // 2)
    assert doors.forget_behind(buffer, kept_bytes) == (touched_bytes, 0)
    doors.give(pool, buffer)
