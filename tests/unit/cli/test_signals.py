import logging
import os
import pty
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from zramfs.cli.daemon_log import DaemonLog
from zramfs.cli.log_file import LogFile
from zramfs.cli.signals import DaemonSignals, signals_held
from zramfs.cli.terminal_log import TerminalLog


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


class HangingLog(DaemonLog):
    """A log on a server that does not answer."""

    place = "a server"

    def __init__(self) -> None:
        super().__init__()
        self.is_opened_anew, self.server_answers = threading.Event(), threading.Event()
        self.openings = 0

    def open_anew(self) -> bool:
        self.openings += 1
        self.is_opened_anew.set()
        self.server_answers.wait()
        return False


@pytest.fixture
def signals() -> DaemonSignals:
    signals = DaemonSignals(TerminalLog())
    signals.catch()
    return signals


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGXCPU])
async def test_ending_is_asked_for(signals: DaemonSignals, nursery: trio.Nursery, number: signal.Signals) -> None:
    nursery.start_soon(signals.attend)
    await trio.testing.wait_all_tasks_blocked()
    send(number)
    with trio.fail_after(5):
        assert await signals.endings.receive() == number.name


async def test_what_came_before_anybody_attends_is_not_lost(signals: DaemonSignals, nursery: trio.Nursery) -> None:
    send(signal.SIGUSR1, signal.SIGTERM)
    nursery.start_soon(signals.attend)
    with trio.fail_after(5):
        assert await signals.endings.receive() == "SIGTERM"


async def test_others_are_ignored_with_one_line_each(
    signals: DaemonSignals, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    nursery.start_soon(signals.attend)
    ignored = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO]
    ignored += [signal.SIGPWR, signal.SIGSTKFLT, signal.SIGTSTP]
    for _ in range(3):
        send(*ignored, signal.SIGRTMIN + 3)
        await trio.testing.wait_all_tasks_blocked(0.01)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sorted(lines) == sorted([*(f"{number.name} is ignored" for number in ignored), "SIGRTMIN+3 is ignored"])


def test_none_that_can_be_caught_ends_the_process(signals: DaemonSignals) -> None:
    harmless = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    faults = {
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGSYS,
        signal.SIGABRT,
    }
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - harmless - faults:
        assert signal.getsignal(number) is not signal.SIG_DFL, number
    assert signals is not None


async def test_hup_opens_the_log_anew(tmp_path: Path, nursery: trio.Nursery) -> None:
    signals = DaemonSignals(LogFile(tmp_path / "log", is_disposable=False))
    signals.catch()
    nursery.start_soon(signals.attend)
    for number in range(2):
        (tmp_path / "log").rename(tmp_path / f"log.{number}")
        send(signal.SIGHUP)
        with trio.fail_after(5):
            await trio.to_thread.run_sync(wait_for, tmp_path / "log", abandon_on_cancel=True)


async def test_ending_does_not_wait_for_a_log_that_hangs() -> None:
    log = HangingLog()
    signals = DaemonSignals(log)
    signals.catch()
    letting_go = threading.Timer(10, log.server_answers.set)
    letting_go.start()
    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as attending:
                attending.start_soon(signals.attend)
                send(signal.SIGHUP)
                await trio.to_thread.run_sync(log.is_opened_anew.wait)
                send(signal.SIGHUP, signal.SIGTERM)
                assert await signals.endings.receive() == "SIGTERM"
                attending.cancel_scope.cancel()
        assert log.openings == 1
    finally:
        letting_go.cancel()
        log.server_answers.set()


async def test_hup_ends_when_the_terminal_is_gone_and_not_before(nursery: trio.Nursery) -> None:
    ours, terminal = pty.openpty()
    saved = os.dup(2)
    os.dup2(terminal, 2)
    os.close(terminal)
    try:
        signals = DaemonSignals(TerminalLog(), is_foreground=True)
        signals.catch()
        nursery.start_soon(signals.attend)
        send(signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(trio.WouldBlock):
            signals.endings.receive_nowait()
        os.close(ours)
        send(signal.SIGHUP)
        with trio.fail_after(5):
            assert await signals.endings.receive() == "SIGHUP, the terminal is closed"
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def test_held_signals_come_later() -> None:
    came: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    with signals_held():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        assert came == []
    assert came == [signal.SIGUSR1]
