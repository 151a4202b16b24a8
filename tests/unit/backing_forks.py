"""Backing processes that are forked: a test gets one in a few milliseconds, where starting Python takes 0.1 s of CPU.

Each runs `backing_process.main` with a socket as its standard input, as the daemon's do. Those of `test_backing` and of
mounts are started as the daemon starts them.
"""

import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final, NoReturn

from zramfs.device.backing_process import main

_WAIT: Final = struct.Struct("=ii")
"""Whom to wait for, and with what options of waitpid."""

_STATUS: Final = struct.Struct("=ii")
"""What waitpid has returned; or a new process, and 0."""


class ForkedProcess:
    """As much of a `subprocess.Popen` as a link to a backing process uses."""

    def __init__(self, forks: "BackingForks", pid: int) -> None:
        self._forks = forks
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            ended, status = self._forks.ask(_WAIT.pack(self.pid, options))
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode


class BackingForks:
    """The process that forks. `spawn` does what `backing_link._spawn` does."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def spawn(self, link: socket.socket) -> ForkedProcess:
        pid, _ = self.ask(b"fork", link.fileno())
        return ForkedProcess(self, pid)

    def ask(self, message: bytes, *fds: int) -> tuple[int, int]:
        with self._turn:
            socket.send_fds(self._socket, [message], fds)
            first, second = _STATUS.unpack(self._socket.recv(_STATUS.size))
            return first, second

    def close(self) -> None:
        self._socket.close()
        self._process.wait(60)


def serve(connection: socket.socket) -> None:
    """Fork, and wait for those forked, as long as somebody asks for it."""
    gc.freeze()
    while True:
        message, fds, _, _ = socket.recv_fds(connection, _WAIT.size, 1)
        if not message:
            return
        if not fds:
            connection.send(_STATUS.pack(*os.waitpid(*_WAIT.unpack(message))))
            continue
        child = os.fork()
        if child == 0:
            be_backing_process(connection, fds[0])
        os.close(fds[0])
        connection.send(_STATUS.pack(child, 0))


def be_backing_process(connection: socket.socket, link_fd: int) -> NoReturn:
    connection.close()
    os.setsid()
    null_fd = os.open(os.devnull, os.O_RDWR)
    for fd, standard in ((link_fd, 0), (null_fd, 1), (null_fd, 2)):
        os.dup2(fd, standard)
    os.closerange(3, max(link_fd, null_fd) + 1)
    with suppress(BaseException):
        main()
    os._exit(0)


if __name__ == "__main__":
    import zramfs.process  # noqa: F401 - what `main` imports when the device is open

    serve(socket.socket(fileno=int(sys.argv[1])))
