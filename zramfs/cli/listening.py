"""Where metrics are served: an address of `mount --metrics`, and the socket that listens there."""

import errno
import ipaddress
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zramfs.errors import InvalidValue, MountFailed

_LOOPBACK: Final = "127.0.0.1"
_UNIX: Final = "unix:"
_BACKLOG: Final = 64
_LONGEST_PATH_BYTES: Final = 107  # sun_path, without the NUL


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """An IP address and a port, or the path of a UNIX socket."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.path is not None or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> MetricsAddress:
    """Read ADDRESS:PORT, :PORT or PORT (of the loopback), or unix:PATH; InvalidValue for anything else."""
    if text.startswith(_UNIX):
        return MetricsAddress(path=_parse_path(text.removeprefix(_UNIX)))
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise InvalidValue(f"{text!r} has no port from 1 to 65535: give ADDRESS:PORT, PORT or unix:PATH")
    try:
        address = ipaddress.ip_address(_LOOPBACK if host in ("", "localhost") else host)
    except ValueError:
        raise InvalidValue(f"{host!r} is no IP address: give ADDRESS:PORT, PORT or unix:PATH") from None
    return MetricsAddress(host=str(address), port=int(port))


def _parse_path(text: str) -> Path:
    path = Path(os.path.abspath(text))  # noqa: PTH100 - the daemon's folder is another
    if not text or len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        raise InvalidValue(f"the path of a socket has 1 to {_LONGEST_PATH_BYTES} bytes")
    return path


def open_listener(address: MetricsAddress) -> socket.socket:
    """Listen at an address; MountFailed if that cannot be. A UNIX socket is for its owner only."""
    try:
        return _listen_at_path(address.path) if address.path is not None else _listen_at_port(address)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise MountFailed(f"cannot serve metrics at {address}: {reason}") from error


def _listen_at_port(address: MetricsAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)


def _listen_at_path(path: Path) -> socket.socket:
    """Take the place of a socket at which nobody listens any more."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        if _is_abandoned(path):
            path.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_abandoned(path: Path) -> bool:
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


def remove_socket(listener: socket.socket) -> None:
    """Remove the name of a UNIX socket that nobody serves any more."""
    if listener.family == socket.AF_UNIX:
        with suppress(OSError):
            Path(listener.getsockname()).unlink()
