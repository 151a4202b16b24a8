"""Asks what may never answer, for a bounded time: a child process waits for it, and is left behind. Level 0.

Not even SIGKILL ends a process that waits for a FUSE daemon which has read its request. So the child has none of our
files open: nobody who reads our output waits for it.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

ANSWER_S: Final = 20.0
_LONGEST_ANSWER: Final = 16 << 20


def ask_patiently(question: Callable[[], bytes]) -> bytes:
    """Return what `question` returns in a child process; nothing if the child fails, or is killed.

    TimeoutError if it takes longer than ANSWER_S, or returns more than 16 MiB.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(question, write_fd)
    os.close(write_fd)
    try:
        said = _read_all(read_fd)
    except BaseException:
        os.kill(pid, signal.SIGKILL)  # it may have to wait all the same, and nobody waits for it
        raise
    finally:
        os.close(read_fd)
    os.kill(pid, signal.SIGKILL)  # it is about to end, unless its user has stopped it
    os.waitpid(pid, 0)
    return said


def ask_each_patiently(questions: Sequence[Callable[[], bytes]], within_s: float) -> list[bytes | None]:
    """Ask several at once, each in a child of its own: what they return, as above; None of those that are not done."""
    asked = [_Asked(question) for question in questions]
    ends_at = time.monotonic() + within_s
    try:
        while waiting := {each.fd: each for each in asked if not each.is_over}:
            ready = select.select(list(waiting), [], [], max(0.0, ends_at - time.monotonic()))[0]
            for fd in ready:
                waiting[fd].read_some()
            if not ready:
                break
        return [each.said if each.is_over else None for each in asked]
    finally:
        for each in asked:
            each.end()


class _Asked:
    """A question and its child."""

    def __init__(self, question: Callable[[], bytes]) -> None:
        self.fd, write_fd = os.pipe()
        self.said = b""
        self.is_over = False
        self._pid = os.fork()
        if self._pid == 0:
            _answer(question, write_fd)
        os.close(write_fd)

    def read_some(self) -> None:
        """Read a part of the answer, which is there."""
        part = os.read(self.fd, 1 << 16)
        self.said += part
        self.is_over = not part
        if len(self.said) > _LONGEST_ANSWER:
            self.said, self.is_over = b"", True

    def end(self) -> None:
        """Let the child go: one that is over is waited for, another may have to wait for long."""
        os.close(self.fd)
        os.kill(self._pid, signal.SIGKILL)
        if self.is_over:
            os.waitpid(self._pid, 0)


def _read_all(fd: int) -> bytes:
    """Read until the other end is closed; TimeoutError if that takes too long, or has no end."""
    ends_at = time.monotonic() + ANSWER_S
    said = b""
    while select.select([fd], [], [], max(0.0, ends_at - time.monotonic()))[0]:
        part = os.read(fd, 1 << 16)
        if not part:
            return said
        said += part
        if len(said) > _LONGEST_ANSWER:
            break
    raise TimeoutError


def _answer(question: Callable[[], bytes], write_fd: int) -> NoReturn:
    """Be the child."""
    with suppress(BaseException):
        _let_go_of_files(write_fd)
        said = question()
        while said:
            said = said[os.write(write_fd, said) :]
    os._exit(0)


def _let_go_of_files(kept_fd: int) -> None:
    null_fd = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        if fd != kept_fd:
            os.dup2(null_fd, fd)
    last = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, kept_fd)
    os.closerange(max(3, kept_fd + 1), last)
