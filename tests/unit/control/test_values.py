import errno
import os

import pytest

from zramfs.control.values import choice, parse_bool, parse_flag_u16, parse_int, parse_name, parse_path, parse_unsigned
from zramfs.errors import InvalidValue, ValueOutOfRange


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("1\n", 1), ("+7", 7), ("007", 7)])
def test_unsigned_reads_as_kstrtoul(text: str, value: int) -> None:
    assert parse_unsigned(text) == value


@pytest.mark.parametrize("text", ["", "\n", "x", "1x", "-1", " 1", "1\n\n", "0x1", "1 ", "\u0661", "++1"])
def test_unsigned_refuses_junk(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_unsigned(text)
    assert raised.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("0\n", 0), ("y", 1), ("No", 0), ("true", 1), ("F", 0), ("enabled", 1), ("d", 0), ("on", 1), ("OFF", 0)],
)
def test_bool_reads_as_kstrtobool(text: str, value: int) -> None:
    assert parse_bool(text) is bool(value)


@pytest.mark.parametrize("text", ["", "\n", "2", " 1", "x", "o", "oo", "-1"])
def test_bool_refuses_junk(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_bool(text)
    assert raised.value.errno == errno.EINVAL


def test_flag_out_of_a_u16_is_erange() -> None:
    assert parse_flag_u16("65535")
    with pytest.raises(ValueOutOfRange):
        parse_flag_u16("65536")


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7\n", 7), ("-1", -1), ("-2147483648", -(1 << 31))])
def test_int_reads_as_kstrtoint(text: str, value: int) -> None:
    assert parse_int(text) == value


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", errno.EINVAL),
        ("x", errno.EINVAL),
        ("--1", errno.EINVAL),
        ("1 ", errno.EINVAL),
        ("2147483648", errno.ERANGE),
    ],
)
def test_int_refuses_junk_and_what_is_too_large(text: str, error: int) -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_int(text)
    assert raised.value.errno == error


def test_name_loses_one_newline_and_is_short() -> None:
    assert parse_name("lz4\n") == "lz4"
    assert parse_name("x" * 127) == "x" * 127
    with pytest.raises(InvalidValue) as raised:
        parse_name("x" * 128)
    assert raised.value.errno == errno.E2BIG


def test_path_is_absolute_and_keeps_its_bytes() -> None:
    assert os.fsencode(parse_path("/\xc3\xa4\xff\n")) == b"/\xc3\xa4\xff"
    for relative in ("", "\n", "x", "./x", " /x"):
        with pytest.raises(InvalidValue, match="absolute"):
            parse_path(relative)


def test_choice_brackets_the_chosen_one() -> None:
    assert choice(["a", "b"], "b") == "a [b]"
