"""How the kernel reads values written to attributes; each rule with the function that it follows."""

import re
from collections.abc import Mapping
from typing import Final

from zramfs.errors import InvalidValue, ValueOutOfRange, ValueTooLong

_U16_MAX: Final = (1 << 16) - 1
_INT_MAX: Final = (1 << 31) - 1
_INT_MIN: Final = -_INT_MAX - 1
_MAX_NAME_BYTES: Final = 128  # CRYPTO_MAX_ALG_NAME
_UNSIGNED: Final = re.compile(r"\+?([0-9]+)\n?")
_SIGNED: Final = re.compile(r"([+-]?[0-9]+)\n?")


def parse_unsigned(text: str, *, most: int | None = None) -> int:
    """Read a decimal number as kstrtou16() and its relatives do: no junk; ValueOutOfRange above `most`."""
    number = _UNSIGNED.fullmatch(text)
    if number is None:
        raise InvalidValue(f"{text!r} is not a number")
    value = int(number.group(1))
    if most is not None and value > most:
        raise ValueOutOfRange(f"{value} is more than {most}")
    return value


def parse_int(text: str) -> int:
    """Read a decimal number as kstrtoint() does: no junk; ValueOutOfRange if it needs more than 32 bits."""
    number = _SIGNED.fullmatch(text)
    if number is None:
        raise InvalidValue(f"{text!r} is not a number")
    value = int(number.group(1))
    if not _INT_MIN <= value <= _INT_MAX:
        raise ValueOutOfRange(f"{value} needs more than 32 bits")
    return value


def parse_flag_u16(text: str) -> bool:
    """Read a u16 of which only zero or not counts."""
    return parse_unsigned(text, most=_U16_MAX) != 0


def parse_name(text: str) -> str:
    """Read an algorithm's name: shorter than 128 bytes, one trailing newline ignored (__comp_algorithm_store)."""
    if len(text.encode("latin-1")) >= _MAX_NAME_BYTES:
        raise ValueTooLong(f"a name has at most {_MAX_NAME_BYTES - 1} bytes")
    return text.removesuffix("\n")


def choice(names: list[str], chosen: str) -> str:
    """Show a choice as sysfs does: all names, the chosen one in brackets."""
    return " ".join(f"[{name}]" if name == chosen else name for name in names)


def key_value_lines(values: Mapping[str, float | str]) -> str:
    """One `key value` a line."""
    return "".join(f"{key} {value}\n" for key, value in values.items())
