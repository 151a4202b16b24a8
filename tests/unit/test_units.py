import errno
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zramfs import errors
from zramfs.units import format_bytes, memparse, parse_size, round_up_to_page


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096\n", 4096),
        ("1K", 1 << 10),
        ("1k", 1 << 10),
        ("3M", 3 << 20),
        ("2g", 2 << 30),
        ("1T", 1 << 40),
        ("1P", 1 << 50),
        ("1E", 1 << 60),
        ("0x10", 16),
        ("0X1fK", 31 << 10),
        ("010", 8),
        ("1Kjunk", 1 << 10),
        ("12 34", 12),
        ("5x", 5),
        ("08", 0),
        ("16E", 0),
    ],
)
def test_memparse_reads_as_the_kernel(text: str, value: int) -> None:
    assert memparse(text) == value


@pytest.mark.parametrize("text", ["", "abc", "K", "-1", " 1", "\n"])
def test_memparse_without_a_digit_is_none(text: str) -> None:
    assert memparse(text) is None


@given(st.text())
def test_memparse_gives_64_bits_or_none_for_any_text(text: str) -> None:
    value = memparse(text)
    assert value is None or 0 <= value < 1 << 64


@pytest.mark.parametrize(("text", "value"), [("512M", 512 << 20), ("1g", 1 << 30), (" 7 ", 7), ("010", 10)])
def test_parse_size_reads_what_people_type(text: str, value: int) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize("text", ["", "1Q", "M", "-1", "1.5G", "1K junk", "0x10", "1MB"])
def test_parse_size_refuses_junk_with_advice(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size: give a number"):
        parse_size(text)


@pytest.mark.parametrize(("size", "rounded"), [(0, 0), (1, 4096), (4095, 4096), (4096, 4096), (4097, 8192)])
def test_round_up_to_page_gives_the_next_multiple(size: int, rounded: int) -> None:
    assert round_up_to_page(size) == rounded


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1K"),
        (1536, "1.5K"),
        (1 << 20, "1M"),
        ((1 << 20) - 1, "1M"),
        (1 << 30, "1G"),
        (5 << 60, "5E"),
        (5000 << 60, "5000E"),
    ],
)
def test_format_bytes_is_short(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_every_error_is_a_zram_error_with_an_errno_of_the_system() -> None:
    ours = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    assert len(ours) > 5
    for kind in ours:
        assert issubclass(kind, errors.ZramError)
        assert kind.errno in errno.errorcode
