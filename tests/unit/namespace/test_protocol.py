import errno

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zramfs.errors import InvalidValue
from zramfs.namespace.protocol import (
    LONGEST_LINE_BYTES,
    Answer,
    Lines,
    ProtocolBroken,
    Request,
    parse_block_device,
)


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line)), st.lists(st.integers(1, 9)))
def test_lines_are_the_same_however_they_arrive(sent: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in sent)
    lines, received = Lines(), []
    for size in sizes:
        received += lines.feed(stream[:size])
        stream = stream[size:]
    received += lines.feed(stream)
    assert received == sent
    assert not lines.is_begun


@pytest.mark.parametrize("end", [b"", b"\n", b"\nattach zram0\n"])
def test_a_line_without_end_is_not_kept(end: bytes) -> None:
    lines = Lines()
    lines.feed(b"x" * LONGEST_LINE_BYTES)
    with pytest.raises(ProtocolBroken, match="a line of more than"):
        lines.feed(b"x" + end)


@pytest.mark.parametrize("line", [b"attach zram0", b"detach zram12", b"forget zram1048575", b"ready"])
def test_requests_are_read_as_they_are_written(line: bytes) -> None:
    assert Request.parse(line).line() == line + b"\n"


@pytest.mark.parametrize(
    "line",
    [
        b"", b"attach", b"attach ", b"ready zram0", b"ready ", b"destroy zram0", b"ATTACH zram0", b" attach zram0",
        b"attach ../some/file", b"attach /etc/passwd", b"attach zram0/../x", b"attach sys", b"attach .", b"attach zram",
        b"attach zram00", b"attach zram01", b"attach zram-1", b"attach zram+1", b"attach zram1048576", b"attach zram1 ",
        b"attach zram1\r", b"attach zram1\0", b"attach zram\xd9\xa1", b"attach zram1 zram2", b"attach\tzram1",
        b"attach zram99999999999999999999", b"\xff\xfe", b"attach zram\xff", b"attach zram1\n",
    ],
)  # fmt: skip
def test_whatever_else_is_no_request(line: bytes) -> None:
    with pytest.raises(InvalidValue):
        Request.parse(line)


@given(st.binary(max_size=60))
@example(b"attach zram7")
def test_no_line_is_a_request_with_any_other_name(line: bytes) -> None:
    try:
        request = Request.parse(line)
    except InvalidValue:
        return
    assert request.line() == line + b"\n"
    assert request.name in ("", f"zram{int(request.name[4:] or 0)}")


@given(st.integers(min_value=0), st.text())
def test_an_answer_is_one_printable_line_whatever_its_text_is(number: int, text: str) -> None:
    number = sorted(errno.errorcode)[number % len(errno.errorcode)]
    line = Answer(number, text).line()
    assert line.endswith(b"\n")
    (whole,) = Lines().feed(line)
    answer = Answer.parse(whole)
    assert answer.error_number == number
    assert answer.text.isprintable()


@pytest.mark.parametrize(
    "line",
    [b"", b"-1", b"+0", b"00", b"0x5", b" 0", b"5000 x", b"134 x", b"99999 x", b"16zram0", b"\xd9\xa0", b"ok", b"1\t2"],
)
def test_whatever_has_no_errno_is_no_answer(line: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        Answer.parse(line)


@given(st.binary(max_size=80))
def test_every_line_is_an_answer_with_a_known_errno_or_none(line: bytes) -> None:
    try:
        answer = Answer.parse(line)
    except ProtocolBroken:
        return
    assert answer.error_number == 0 or answer.error_number in errno.errorcode


@pytest.mark.parametrize("text", ["7:0", "7:1048575", "4095:3"])
def test_block_devices_have_a_major_and_a_minor(text: str) -> None:
    assert parse_block_device(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "7", "7:", ":7", "7:-1", "07:1", "7:1048576", "4096:0", "7:1:2", "7:1 x", "7:1\n", "٧:٠", "7:0x1"],  # noqa: RUF001
)
def test_whatever_else_is_no_block_device(text: str) -> None:
    with pytest.raises(ProtocolBroken):
        parse_block_device(text)
