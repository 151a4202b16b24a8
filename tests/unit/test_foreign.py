import pytest

from zramfs.foreign import is_device_name, printable


@pytest.mark.parametrize("name", ["zram0", "zram9", "zram10", "zram1048575"])
def test_names_of_devices(name: str) -> None:
    assert is_device_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "zram",
        "zram00",
        "zram01",
        "zram-1",
        "zram1048576",
        "zram1/x",
        "../zram1",
        "zram1\n",
        "ZRAM1",
        "zram٣",
        "ram1",
    ],
)
def test_other_names(name: str) -> None:
    assert not is_device_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all as it is: ä — 3 µs", "all as it is: ä — 3 µs"),
        ("two\nlines\tand tabs", "two\nlines\tand tabs"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J\r\0\x7f", "\\x9b2J\\r\\x00\\x7f"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_would_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
