"""A daemon that SIGSTOP has stopped: each verb ends in its time with one line. They run here, where that is shorter."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from mounts import Mounted, zramfs

from zramfs import patience
from zramfs.block_device import is_readable
from zramfs.cli.exec import exec as exec_verb
from zramfs.cli.loop import loop
from zramfs.cli.mount import mount as mount_verb
from zramfs.cli.status import status
from zramfs.cli.swap import swap
from zramfs.cli.umount import umount
from zramfs.errors import CommandFailed, MountDoesNotAnswer, NotMounted
from zramfs.unmounting import take_away_if_dead

Mount = Callable[..., Mounted]


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Mounted], None]]:
    stopped: list[int] = []

    def stop_daemon(mounted: Mounted) -> None:
        monkeypatch.setattr(patience, "ANSWER_S", 0.3)
        stopped.append(mounted.pid)
        os.kill(mounted.pid, signal.SIGSTOP)

    yield stop_daemon
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def deadline() -> Iterator[None]:
    """Fail instead of hanging for ever; what waits for the daemon must be let go first."""

    def give_up(*_: object) -> None:
        pytest.fail("the verb hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(verb: click.Command, *arguments: object) -> None:
    verb.main([str(argument) for argument in arguments], standalone_mode=False)


@pytest.mark.usefixtures("deadline")
def test_no_verb_waits_for_a_hung_daemon(mount: Mount, stop: Callable[[Mounted], None]) -> None:
    mounted = mount(size="16M")
    stop(mounted)
    path = mounted.path
    verbs: list[tuple[click.Command, tuple[object, ...]]] = [
        (mount_verb, (path, "--size", "16M")),
        (umount, (path,)),
        (status, (path,)),
        (loop, ("attach", path)),
        (loop, ("detach", path)),
        (swap, ("on", path)),
        (swap, ("off", path)),
        (exec_verb, (path, "--", "true")),
    ]
    for verb, arguments in verbs:
        with pytest.raises(MountDoesNotAnswer) as told:
            run(verb, *arguments)
        assert str(told.value).startswith(f"the daemon of {path} does not answer: end it, or ")
        assert str(told.value).count("\n") == 0
    with pytest.raises(MountDoesNotAnswer):
        take_away_if_dead(path)


@pytest.mark.usefixtures("deadline")
def test_loop_device_of_a_hung_daemon_is_not_waited_for(
    mount: Mount, stop: Callable[[Mounted], None], capsys: pytest.CaptureFixture[str]
) -> None:
    mounted = mount(size="16M")
    attached = zramfs("loop", "attach", mounted.path)
    assert attached.returncode == 0, attached.stderr
    loop_path = Path(attached.stdout.strip())
    assert is_readable(loop_path)
    stop(mounted)
    try:
        with pytest.raises(MountDoesNotAnswer):
            run(loop, "detach", mounted.path)
        assert subprocess.run(["umount", "--lazy", mounted.path], check=False).returncode == 0
        with pytest.raises((NotMounted, CommandFailed)):
            run(umount, mounted.path)
        assert f"{loop_path} is still attached: its daemon does not answer" in capsys.readouterr().err
    finally:
        os.kill(mounted.pid, signal.SIGCONT)
        subprocess.run(["losetup", "--detach", loop_path], check=False)
        mounted.wait_for_daemon_end()
