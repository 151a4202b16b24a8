"""How the kernel reads values written to attributes; each rule with the function that it follows."""

import os
import re
from collections.abc import Mapping
from typing import Final

from zramfs.errors import InvalidValue, ValueOutOfRange, ValueTooLong
from zramfs.units import c_integer

_U16_MAX: Final = (1 << 16) - 1
_U32_MAX: Final = (1 << 32) - 1
_U64_MAX: Final = (1 << 64) - 1
_MAX_NAME_BYTES: Final = 128  # CRYPTO_MAX_ALG_NAME
_INT_MAX: Final = (1 << 31) - 1
_TRUE: Final = ("1", "y", "t", "e", "on")
_FALSE: Final = ("0", "n", "f", "d", "of")
_UNSIGNED: Final = re.compile(r"\+?([0-9]+)\n?")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+\n?", re.ASCII)
_PARAMETER: Final = re.compile(r'(?:"[^"]*(?:"|$)|[^\s"])+', re.ASCII)
_UNSIGNED_OF_ANY_BASE: Final = re.compile(r"\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\n?")


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
    """Read a decimal number as kstrtoint() does: no junk; ValueOutOfRange for what is not a C int."""
    if _INTEGER.fullmatch(text) is None:
        raise InvalidValue(f"{text!r} is not a number")
    value = int(text)
    if not -_INT_MAX - 1 <= value <= _INT_MAX:
        raise ValueOutOfRange(f"{value} is not an int")
    return value


def parse_parameters(text: str) -> list[tuple[str, str | None]]:
    """Read `name=value` words as next_arg() does, quotes around blanks; None is the value of a word without `=`.

    A `=` that a word begins with is none: it is part of the name.
    """
    words = ((word[0], word[1:].partition("=")) for word in _PARAMETER.findall(text))
    return [(first + rest, value.replace('"', "") if separator else None) for first, (rest, separator, value) in words]


def require_zero(text: str) -> None:
    """Take a number that is 0 and nothing else: whatever is wrong is EINVAL (mem_used_max_store)."""
    if parse_unsigned(text) != 0:
        raise InvalidValue("only 0 can be written here")


def parse_within(text: str, most: int) -> int:
    """Read a decimal number from 0 to `most`, where the kernel answers EINVAL whatever is wrong."""
    try:
        return parse_unsigned(text, most=most)
    except ValueOutOfRange as error:
        raise InvalidValue(str(error)) from error


def parse_age(text: str, *, is_u32: bool = True) -> int:
    """Read a number of seconds, a u32 or u64 whose base is C's, where the kernel answers EINVAL whatever is wrong."""
    number = _UNSIGNED_OF_ANY_BASE.fullmatch(text)
    age_s = c_integer(number.group(1)) if number else None
    if age_s is None or age_s > (_U32_MAX if is_u32 else _U64_MAX):
        raise InvalidValue(f"{text!r} is not an age in seconds")
    return age_s


def parse_bool(text: str) -> bool:
    """Read a bool as kstrtobool() does: by its first letter, of which `o` needs another one."""
    begin = text[:2].lower() if text[:1] in ("o", "O") else text[:1].lower()
    if begin in _TRUE:
        return True
    if begin in _FALSE:
        return False
    raise InvalidValue(f"{text!r} is neither true nor false")


def parse_flag_u16(text: str) -> bool:
    """Read a u16 of which only zero or not counts."""
    return parse_unsigned(text, most=_U16_MAX) != 0


def parse_name(text: str) -> str:
    """Read an algorithm's name: shorter than 128 bytes, one trailing newline ignored (__comp_algorithm_store)."""
    if len(text.encode("latin-1")) >= _MAX_NAME_BYTES:
        raise ValueTooLong(f"a name has at most {_MAX_NAME_BYTES - 1} bytes")
    return text.removesuffix("\n")


def parse_path(text: str, folder: str = "") -> str:
    """Read the path of a file, one trailing newline ignored, whatever its bytes are.

    A relative one begins in the writer's folder; InvalidValue if that is not known: the daemon has one of its own.
    """
    path = os.fsdecode(text.removesuffix("\n").encode("latin-1"))
    if path.startswith("/"):
        return path
    if not path or not folder:
        raise InvalidValue(f"{path!r} is not an absolute path, and nobody knows where it begins")
    return f"{folder}/{path}"


def choice(names: list[str], chosen: str) -> str:
    """Show a choice as sysfs does: all names, the chosen one in brackets."""
    return " ".join(f"[{name}]" if name == chosen else name for name in names)


def key_value_lines(values: Mapping[str, float | str]) -> str:
    """One `key value` a line."""
    return "".join(f"{key} {value}\n" for key, value in values.items())
