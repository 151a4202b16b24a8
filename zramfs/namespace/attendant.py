"""The process that does what a daemon asks of the keeper: it alone waits for the daemon, which may never answer.

It keeps the `Attachments`; the keeper keeps the other end of its socket, and can do without it.
"""

import os
import select
import signal
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from zramfs.errors import CommandFailed
from zramfs.namespace.protocol import ATTACH, DETACH, Answer, Lines, ProtocolBroken, Request
from zramfs.supervise.processes import start_server

_MOST_BYTES: Final = 4096

_WORK_S: Final = 10.0
"""How long opening a file and binding a loop device may take: as long as the daemon waits for the answer."""


class Attendant:
    """Has requests answered by `answer`, in a child that has the descriptors `fds`.

    Whoever waits for an answer attends to `attended` as well: as soon as one of these can be read, he waits no longer.
    """

    def __init__(self, answer: Callable[[Request], Answer], fds: Collection[int]) -> None:
        self._socket, served = socket.socketpair()
        self._served = served
        self._answer = answer
        self._pid_fd = start_server(self._serve, {served.fileno(), *fds})
        served.close()
        self._numbers: dict[str, int] = {}
        self.attended: set[int] = set()
        self.is_hung = False
        """Whether the child has been left with a request that it could not end."""

    @property
    def bound(self) -> set[int]:
        """The loop devices that are bound, as far as that has been answered."""
        return set(self._numbers.values())

    def answer(self, request: Request) -> Answer:
        """Return the answer; CommandFailed if nobody waits for it any more, ProtocolBroken if it does not come.

        There will be no other one then.
        """
        self._socket.sendall(request.line())
        readable, _, _ = select.select([self._socket.fileno(), *self.attended], [], [], _WORK_S)
        said = self._socket.recv(_MOST_BYTES) if self._socket.fileno() in readable else b""
        if not said.endswith(b"\n"):
            self.is_hung = not said
            self._end()
            if not self.attended.isdisjoint(readable):
                raise CommandFailed("interrupted while the daemon let its files be opened")
            raise ProtocolBroken("the daemon does not let its files be opened")
        answer = Answer.parse(said.removesuffix(b"\n"))
        if not answer.error_number:
            self._note(request, answer)
        return answer

    def close(self) -> None:
        """End the child, or let it end as soon as the kernel lets it."""
        self._end()
        self._socket.close()
        os.close(self._pid_fd)

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)

    def _note(self, request: Request, answer: Answer) -> None:
        if request.verb == ATTACH:
            self._numbers[request.name] = int(answer.text.partition(":")[2])
        elif request.verb == DETACH:
            self._numbers.pop(request.name, None)

    def _serve(self) -> None:
        lines = Lines()
        while received := os.read(self._served.fileno(), _MOST_BYTES):
            for line in lines.feed(received):
                self._served.sendall(self._answer(Request.parse(line)).line())
