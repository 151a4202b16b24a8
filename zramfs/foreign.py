"""Checks names and text of others before use: names of devices, and text for a terminal. Level 0."""

import re
from typing import Final

_DEVICE_NAME: Final = re.compile(r"zram(0|[1-9][0-9]{0,6})", re.ASCII)
_MINORS: Final = 1 << 20  # MINORBITS
_WHITE: Final = {ord("\n"): None, ord("\t"): None}
"""What steers a terminal nowhere, though it is not printable."""


def is_device_name(text: str) -> bool:
    """Whether it is `zram` and a number as the kernel writes it: no path, and no second name of the same device."""
    name = _DEVICE_NAME.fullmatch(text)
    return name is not None and int(name[1]) < _MINORS


def printable(text: str) -> str:
    """Write letters that would steer a terminal, or are no characters, as escapes; lines stay lines."""
    if text.translate(_WHITE).isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _escaped(letter) for letter in text)


def last_line(text: str) -> str:
    """Return the last line that says something, or nothing."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _escaped(letter: str) -> str:
    return ascii(letter)[1:-1]  # not by a codec, whose module a child that has become another user may not reach
