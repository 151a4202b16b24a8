"""The link between a daemon and a keeper, as both ends read it: neither trusts the other.

Requests and answers are lines: `attach zram0`, `detach zram0`, `forget zram0` or `ready`; an errno, 0 for success, and
behind it major:minor or a reason. The daemon asks one thing at a time. A keeper answers EINVAL to a line that is no
request. Either end ends the link at bytes that are no line; a daemon does so at a line that is no answer.
"""

import errno
import re
import socket
import struct
from dataclasses import dataclass
from typing import Final, Self

from zramfs.errors import CommandFailed, InvalidValue
from zramfs.foreign import is_device_name, printable

ATTACH: Final = "attach"
DETACH: Final = "detach"
FORGET: Final = "forget"
READY: Final = "ready"
"""The request that says that all devices are attached."""

LONGEST_LINE_BYTES: Final = 1024

_ANSWER: Final = re.compile(r"(0|[1-9][0-9]{0,3})(?: (.*))?", re.ASCII)
_BLOCK_DEVICE: Final = re.compile(r"(0|[1-9][0-9]{0,3}):(0|[1-9][0-9]{0,6})", re.ASCII)
_MAJORS: Final = 1 << 12  # MINORBITS is 20
_MINORS: Final = 1 << 20
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class ProtocolBroken(CommandFailed):
    """The other end does not speak this protocol; the link ends."""

    errno = errno.EPROTO


class Lines:
    """Cuts what is received into lines, however it arrives."""

    def __init__(self) -> None:
        self._unread = b""

    @property
    def is_begun(self) -> bool:
        """Whether a line has begun that has not ended."""
        return bool(self._unread)

    def feed(self, received: bytes) -> list[bytes]:
        """Return the lines that have ended, without their ends; ProtocolBroken for one that is too long."""
        *whole, self._unread = (self._unread + received).split(b"\n")
        if any(len(line) > LONGEST_LINE_BYTES for line in (*whole, self._unread)):
            raise ProtocolBroken(f"a line of more than {LONGEST_LINE_BYTES} bytes")
        return whole


@dataclass(frozen=True, slots=True)
class Request:
    """A daemon's request. `name` is the device's; empty for `ready`."""

    verb: str
    name: str = ""

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a line; InvalidValue if it is no request."""
        verb, _, name = line.decode("ascii", "replace").partition(" ")
        is_known = verb in (ATTACH, DETACH, FORGET) and is_device_name(name)
        if not is_known and line != READY.encode():
            raise InvalidValue(f"{_quoted(line)} is no request")
        return cls(verb, name)

    def line(self) -> bytes:
        """Write it."""
        return f"{self.verb} {self.name}".rstrip().encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A keeper's answer: an errno, or 0, and text that needs no escaping."""

    error_number: int = 0
    text: str = ""

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a line; ProtocolBroken if it is no answer."""
        answer = _ANSWER.fullmatch(printable(line.decode(errors="backslashreplace")))
        if answer is None or (answer[1] != "0" and int(answer[1]) not in errno.errorcode):
            raise ProtocolBroken(f"{_quoted(line)} is no answer")
        return cls(int(answer[1]), answer[2] or "")

    def line(self) -> bytes:
        """Write it in one line, whatever the text is; the end of a long one is missing."""
        text = printable(" ".join(self.text.split())).encode(errors="replace")
        return f"{self.error_number} ".encode() + text[: LONGEST_LINE_BYTES // 2] + b"\n"


def parse_block_device(text: str) -> str:
    """Read the major:minor of a block device; ProtocolBroken if it is none."""
    device = _BLOCK_DEVICE.fullmatch(text)
    if device is None or int(device[1]) >= _MAJORS or int(device[2]) >= _MINORS:
        raise ProtocolBroken(f"{text!r} is no block device")
    return text


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a Unix socket, as the kernel knows it: who connected, or who listens."""

    pid: int
    uid: int

    @classmethod
    def of(cls, connected: socket.socket) -> Self:
        """Ask the kernel (SO_PEERCRED)."""
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        return cls(pid, uid)


def _quoted(line: bytes) -> str:
    return repr(line[:64])
