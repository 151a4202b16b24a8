"""One descriptor of the device: what becomes of its page, and the room that descriptors share."""

import os
from typing import Any, Final

import pytest

from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import PageCodec

PAGE: Final = 4096
SCRATCH: Final = 4224
NO_FAULT, TIMEOUT, BUS_ERROR, CORRUPT = range(4)
TIMED_OUT, FAILED_ON_THE_BUS, VERIFY_FAILED = -2, -3, -4
VERIFIES, MAY_BE_CORRUPT = 1, 2

PAGES: Final = {
    "text": b"accelerate " * 372 + b"1234",
    "zeros": bytes(PAGE),
    "same-filled": b"12345678" * (PAGE // 8),
    "noise": os.urandom(PAGE),
}


@pytest.fixture
def codec() -> PageCodec:
    return Lz4Codec()


@pytest.mark.parametrize("checks", [0, VERIFIES, VERIFIES | MAY_BE_CORRUPT])
@pytest.mark.parametrize("kind", PAGES)
def test_page_comes_back_from_a_sound_descriptor(doors: Any, codec: PageCodec, kind: str, checks: int) -> None:
    length, back = doors.work_off(codec, PAGES[kind], NO_FAULT, checks)
    assert length >= 0
    assert back == PAGES[kind]


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize(("fault", "status"), [(TIMEOUT, TIMED_OUT), (BUS_ERROR, FAILED_ON_THE_BUS)])
def test_fault_is_the_status_of_its_descriptor(
    doors: Any, codec: PageCodec, kind: str, fault: int, status: int
) -> None:
    assert doors.work_off(codec, PAGES[kind], fault, 0) == (status, None)


@pytest.mark.parametrize("kind", PAGES)
def test_corrupt_output_is_found_where_it_is_verified(doors: Any, codec: PageCodec, kind: str) -> None:
    assert doors.work_off(codec, PAGES[kind], CORRUPT, VERIFIES | MAY_BE_CORRUPT)[0] == VERIFY_FAILED


@pytest.mark.parametrize("kind", PAGES)
def test_corrupt_output_passes_where_it_is_not(doors: Any, codec: PageCodec, kind: str) -> None:
    length, back = doors.work_off(codec, PAGES[kind], CORRUPT, MAY_BE_CORRUPT)
    assert 0 <= length < PAGE
    assert back != PAGES[kind]


def test_descriptor_has_room_of_its_own(doors: Any) -> None:
    stack = doors.make_stack(5)
    rooms = [doors.take_descriptor(stack) for _ in range(5)]
    assert rooms == [rooms[0] + number * SCRATCH for number in range(5)]
    assert doors.stack_counts(stack) == (0, 5)


def test_descriptor_that_was_given_back_last_is_taken_first(doors: Any) -> None:
    stack = doors.make_stack(4)
    first, second, third = (doors.take_descriptor(stack) for _ in range(3))
    for room in (first, third, second):
        doors.give_descriptor(stack, room)
    assert [doors.take_descriptor(stack) for _ in range(3)] == [second, third, first]
    assert repr(stack) == "<DescriptorStack 1 of 4 free>"


def test_most_that_were_taken_is_remembered(doors: Any) -> None:
    stack = doors.make_stack(4)
    rooms = [doors.take_descriptor(stack) for _ in range(3)]
    for room in rooms:
        doors.give_descriptor(stack, room)
    doors.take_descriptor(stack)
    assert doors.stack_counts(stack) == (3, 3)
