import pytest

from zramfs.control.values import parse_age, parse_within
from zramfs.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("86400\n", 86400), ("+5", 5), ("0x10", 16), ("017", 15), ("4294967295", 2**32 - 1)]
)
def test_age_has_the_bases_of_c(text: str, seconds: int) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "4294967296", "5 ", "5s", "09", "0x", "99999999999999999999999"])
def test_what_is_no_age_is_einval(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_age(text)
    assert type(raised.value) is InvalidValue


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4294967296", 2**32), ("18446744073709551615\n", 2**64 - 1), ("0x00010000000000000000", None)],
)
def test_age_is_a_u64_in_6_18(text: str, seconds: int | None) -> None:
    if seconds is None:
        with pytest.raises(InvalidValue):
            parse_age(text, is_u32=False)
    else:
        assert parse_age(text, is_u32=False) == seconds


def test_a_number_out_of_its_range_is_einval_where_the_kernel_says_so() -> None:
    assert parse_within("255\n", 255) == 255
    with pytest.raises(InvalidValue) as raised:
        parse_within("256", 255)
    assert type(raised.value) is InvalidValue
