import socket
from pathlib import Path

import pytest

from zramfs.cli.listening import MetricsAddress, open_listener, parse_address, remove_socket
from zramfs.errors import InvalidValue, MountFailed


@pytest.mark.parametrize(
    ("text", "told", "is_loopback"),
    [
        ("9100", "127.0.0.1:9100", True),
        (":9100", "127.0.0.1:9100", True),
        ("localhost:9100", "127.0.0.1:9100", True),
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("[::1]:9100", "[::1]:9100", True),
        ("0.0.0.0:9100", "0.0.0.0:9100", False),
        ("[::]:9100", "[::]:9100", False),
        ("192.0.2.1:9100", "192.0.2.1:9100", False),
        ("unix:/tmp/s", "unix:/tmp/s", True),
    ],
)
def test_a_port_alone_is_of_the_loopback(text: str, told: str, *, is_loopback: bool) -> None:
    address = parse_address(text)
    assert (str(address), address.is_loopback) == (told, is_loopback)


@pytest.mark.parametrize("text", ["", "x", "host:1", "127.0.0.1", "127.0.0.1:0", ":65536", ":-1", "unix:", "a:b:c"])
def test_junk_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_address(text)


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(InvalidValue, match="107 bytes"):
        parse_address(f"unix:/{'x' * 200}")


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MountFailed, match=rf"127.0.0.1:{port}: it is in use"):
            open_listener(MetricsAddress(host="127.0.0.1", port=port))


def test_a_socket_is_its_owners_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with open_listener(MetricsAddress(path=path)) as listener:
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(MountFailed, match="in use"):
            open_listener(MetricsAddress(path=path))
        remove_socket(listener)
        assert not path.exists()


def test_an_abandoned_socket_is_taken_over_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    open_listener(MetricsAddress(path=path)).close()
    open_listener(MetricsAddress(path=path)).close()
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(MountFailed, match="in use"):
        open_listener(MetricsAddress(path=file))
    assert file.read_text() == "kept"
