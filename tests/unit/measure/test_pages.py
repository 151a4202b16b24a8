import zlib

from zramfs.measure.pages import compressible_pages
from zramfs.units import PAGE_SIZE


def test_pages_differ_and_shrink_by_about_60_percent() -> None:
    data = compressible_pages(64, seed=1)
    pages = {data[place : place + PAGE_SIZE] for place in range(0, len(data), PAGE_SIZE)}
    assert len(pages) == 64
    assert all(0.38 < len(zlib.compress(page)) / PAGE_SIZE < 0.45 for page in pages)


def test_seed_chooses_the_pages() -> None:
    assert compressible_pages(2, seed=1) == compressible_pages(2, seed=1) != compressible_pages(2, seed=2)
