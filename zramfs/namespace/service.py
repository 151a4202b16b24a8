"""The keeper's end of the link: receives a daemon's requests, one at a time, and answers them."""

import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from zramfs.errors import CommandFailed, InvalidValue
from zramfs.foreign import printable
from zramfs.namespace.protocol import READY, Answer, Lines, ProtocolBroken, Request

_MOST_BYTES: Final = 4096

_ANSWER_S: Final = 10.0
"""How long a daemon may leave an answer unread."""


class Attachments(Protocol):
    """Who does what a daemon asks for (`Attendant`, and behind it `attachments.Attachments`)."""

    def answer(self, request: Request) -> Answer:
        """Return the answer; ProtocolBroken if the daemon keeps it from being found."""


class Service:
    """Serves the daemon of `mountpoint` with `attachments`. It may be hostile: it must not hold the keeper up."""

    def __init__(self, link: socket.socket, attachments: Attachments, mountpoint: Path) -> None:
        self._link = link
        self._link.settimeout(_ANSWER_S)
        self._attachments = attachments
        self._mountpoint = mountpoint
        self._lines = Lines()
        self._refusal = ""

    def answer(self) -> bool:
        """Do what the daemon asks for, when there is something to receive; True once it has said that this was all.

        CommandFailed when it has ended; ProtocolBroken for bytes that are no line, or a request that comes too early.
        """
        try:
            received = self._link.recv(_MOST_BYTES)
            line = self._next_line(received)
            is_ready = line is not None and self._answer(line)
        except ConnectionError:  # it has not waited for us
            received = b""
        except TimeoutError as error:
            raise ProtocolBroken(f"the daemon of {self._mountpoint} does not take its answer") from error
        if not received:
            raise CommandFailed(self._refusal or f"the daemon of {self._mountpoint} has ended")
        return is_ready

    def end(self, error: CommandFailed) -> None:
        """Go on without the daemon: if it has ended, the command learns that by itself, for its devices are gone."""
        if isinstance(error, ProtocolBroken):
            print(f"zramfs: warning: {printable(str(error))}", file=sys.stderr, flush=True)
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def _next_line(self, received: bytes) -> bytes | None:
        """Return the line that has ended, if one has; ProtocolBroken if another one comes before its answer."""
        lines = self._lines.feed(received)
        if len(lines) > 1 or (lines and self._lines.is_begun):
            raise ProtocolBroken(f"the daemon of {self._mountpoint} asks before it has its answer")
        return lines[0] if lines else None

    def _answer(self, line: bytes) -> bool:
        """Answer a request; whether it was the one that says that all devices are there."""
        try:
            request = Request.parse(line)
        except InvalidValue as error:
            answer, is_ready = Answer(error.errno, str(error)), False
        else:
            answer, is_ready = self._attachments.answer(request), request.verb == READY
        if answer.error_number:
            self._refusal = answer.text
        self._link.sendall(answer.line())
        return is_ready
