import pytest

from zramfs.control.writeback import _selections
from zramfs.device.writeback import Selection
from zramfs.errors import InvalidValue, ValueOutOfRange

PAGES = 100


@pytest.mark.parametrize(
    ("text", "selections"),
    [
        ("", []),
        ("idle\n", [Selection(0, PAGES, idle=True)]),
        ("huge", [Selection(0, PAGES, huge=True)]),
        ("incompressible", [Selection(0, PAGES, incompressible=True)]),
        ("type=huge_idle", [Selection(0, PAGES, idle=True, huge=True)]),
        ("page_index=99", [Selection(99, 100)]),
        ("page_index=1 page_index=5\n", [Selection(1, 2), Selection(5, 6)]),
        ("page_indexes=1-1 page_indexes=5-99", [Selection(1, 2), Selection(5, 100)]),
        ("bogus=1", []),
        ("huge page_index=nonsense", [Selection(0, PAGES, huge=True)]),
        ("page_index=7 type=idle", [Selection(7, 8), Selection(7, 8, idle=True)]),
    ],
)
def test_writeback_selects_as_the_kernel_does(text: str, selections: list[Selection]) -> None:
    assert _selections(text, PAGES) == selections


@pytest.mark.parametrize(
    "text",
    ["all", "type=all", "page_index=x", "page_index=", "page_index=-1", "page_indexes=5", "page_indexes=a-b", "type="],
)
def test_what_writeback_cannot_read_is_einval(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        _selections(text, PAGES)
    assert type(raised.value) is InvalidValue


@pytest.mark.parametrize(
    "text", ["page_index=100", "page_indexes=5-100", "page_indexes=6-5", "page_index=99999999999999999999999"]
)
def test_pages_that_are_not_there_are_erange(text: str) -> None:
    with pytest.raises(ValueOutOfRange):
        _selections(text, PAGES)
