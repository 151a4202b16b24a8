from random import Random

from zramfs.compare.memory_hog import PAGE_BYTES, difference, fill, page, verify

FILLER = Random(1).randbytes(PAGE_BYTES)


class Forgetful(bytearray):
    """Memory whose page 1 is page 0 when it is read."""

    def __getitem__(self, where: slice) -> bytearray:  # type: ignore[override]
        return super().__getitem__(slice(0, PAGE_BYTES) if where.start == PAGE_BYTES else where)


def test_memory_that_keeps_its_pages_differs_in_nothing() -> None:
    memory = bytearray(4 * PAGE_BYTES)
    fill(memory, 7, FILLER)
    assert verify(memory, 7, FILLER) == ""


def test_pages_that_differ_are_counted_and_told() -> None:
    memory = Forgetful(4 * PAGE_BYTES)
    fill(memory, 512, FILLER)
    told = verify(memory, 512, FILLER).splitlines()
    assert told[0] == "1 of 4 pages differ, named from 512 on:"
    assert len(told) == 2
    assert told[1].startswith("  page 513 differs at ")
    assert told[1].endswith(": page 512")


def test_what_a_page_holds_instead_is_told() -> None:
    right = page(0x1234, FILLER)
    assert difference(0x1234, bytes(PAGE_BYTES), FILLER).endswith(": zeros")
    older = page(0x34, FILLER)
    assert difference(0x1234, older, FILLER) == "page 4660 differs at 1 of the bytes 1 to 1: page 52"
    torn = right[:100] + bytes(range(200, 216)) + right[116:]
    assert difference(0x1234, torn, FILLER).endswith(" to 115: " + bytes(range(200, 216)).hex())
