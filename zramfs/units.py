"""Sizes of the kernel's world, and the kernel's way to read them. Level 0."""

import re
from typing import Final

from zramfs.page import PAGE_BYTES

PAGE_SIZE: Final = PAGE_BYTES
SECTOR_SIZE: Final = 512

BytesLike = bytes | bytearray | memoryview
"""What the data of a request comes in."""

_SUFFIX_SHIFT: Final = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
_U64_MASK: Final = (1 << 64) - 1
_LEADING_NUMBER: Final = r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*"
_WHOLE_SIZE: Final = r"([0-9]+)([KMGTPEkmgtpe]?)"


def memparse(text: str) -> int | None:
    """Read a size as the kernel's ``memparse()`` does (lib/cmdline.c): bytes, or None without any digit.

    The base is C's (``0x`` and a leading ``0`` count), one of K M G T P E may follow, and anything after
    that is ignored.
    """
    number = re.match(_LEADING_NUMBER, text)
    if number is None:
        return None
    value = c_integer(number.group())
    suffix = text[number.end() : number.end() + 1].upper()
    return (value << _SUFFIX_SHIFT.get(suffix, 0)) & _U64_MASK


def c_integer(digits: str) -> int:
    """Read digits in the base that C gives them."""
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    return int(digits, 8 if digits[0] == "0" else 10)


def parse_size(text: str) -> int:
    """Read a size typed by a person, in bytes; unlike `memparse`, junk is a ValueError, not ignored."""
    whole = re.fullmatch(_WHOLE_SIZE, text.strip())
    if whole is None:
        raise ValueError(f"{text!r} is not a size: give a number with K, M, G, T, P or E, such as 512M")
    return int(whole.group(1)) << _SUFFIX_SHIFT.get(whole.group(2).upper(), 0)


def round_up_to_page(size_bytes: int) -> int:
    """Return the smallest multiple of the page size that holds `size_bytes`."""
    return -(-size_bytes // PAGE_SIZE) * PAGE_SIZE


def format_bytes(size_bytes: int) -> str:
    """Format a size for a person: ``1.5G``, three significant digits, as zramctl and df do."""
    if size_bytes < 1024:
        return f"{size_bytes}B"
    value = float(size_bytes)
    for suffix in "KMGTPE":
        value /= 1024
        if value < 1023.95 or suffix == "E":
            break
    return f"{value:.1f}".removesuffix(".0") + suffix
