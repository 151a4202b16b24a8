"""A daemon whose keeper is hostile, or is none."""

import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.device.lineage import OwnMount
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.errors import CommandFailed, DeviceBusy, LiesOnOwnMount, ZramError
from zramfs.namespace import link as link_module
from zramfs.namespace.link import KeeperLink, NotOurKeeper
from zramfs.namespace.protocol import Peer

Talk = Callable[[socket.socket], None]


@contextmanager
def keeper(folder: Path, talk: Talk) -> Iterator[str]:
    """Listen like a keeper, and talk to the first one who connects, on a thread."""
    path = folder / "keeper"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_talk, args=(listener, talk))
        thread.start()
        yield str(path)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _talk(listener: socket.socket, talk: Talk) -> None:
    try:
        link, _ = listener.accept()
    except OSError:
        return
    with link:
        link.settimeout(5)
        try:
            talk(link)
        except OSError:
            return


@asynccontextmanager
async def linked(own_mount: OwnMount | None = None) -> AsyncIterator[tuple[KeeperLink, DeviceSet]]:
    """A daemon with two devices."""
    server = BioServer(BlockLayer())
    config = DeviceConfig(backend=LZ4, accelerator=None)
    async with trio.open_nursery() as nursery:
        devices = DeviceSet(lambda name: ZramDevice(name, server=server, nursery=nursery, config=config))
        devices.add()
        devices.add()
        link = KeeperLink(devices, nursery, own_mount)
        try:
            yield link, devices
        finally:
            link.close()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - as whoever reads the attribute does
            await trio.sleep(0.001)


async def until_let_go(link: KeeperLink) -> None:
    await until(lambda: link.keeper_pid == 0)


def obey(link: socket.socket) -> None:
    """Answer as a keeper does."""
    number = 0
    while request := link.recv(4096):
        answer = b"0 \n"
        if request.startswith(b"attach"):
            answer = f"0 7:{number}\n".encode()
            number += 1
        link.sendall(answer)


def say(*answers: bytes) -> Talk:
    """Answer so, whatever is asked, and nothing behind it."""

    def talk(link: socket.socket) -> None:
        for answer in answers:
            if not link.recv(4096):
                return
            link.sendall(answer)
        while link.recv(4096):
            pass

    return talk


async def test_devices_have_the_block_devices_that_a_keeper_tells(tmp_path: Path) -> None:
    with keeper(tmp_path, obey) as path:
        async with linked() as (link, devices):
            await link.connect(path)
            assert link.keeper_pid == os.getpid()
            await until(lambda: devices.block_devices is not None)
            assert [device.block_device for device in devices] == ["7:0", "7:1"]
            with pytest.raises(DeviceBusy):
                await link.connect(path)
            assert await devices.hot_add() == 2
            await devices.hot_remove(2)


@pytest.mark.parametrize(
    "answers",
    [
        (b"yes\n",),
        (b"\xff\xfe\n",),
        (b"\0\n",),
        (b"0 seven\n",),
        (b"0 7:1 x\n",),
        (b"0 7:0\n0 7:1\n",),
        (b"99999 x\n",),
        (b"-5 x\n",),
        (b"x" * 100_000,),
        (b"0 7:0\n", b"0 \x1b[2J\n"),
        (b"12 not \x1b[31mnow\n",),
    ],
    ids=repr,
)
async def test_a_keeper_that_does_not_speak_the_protocol_is_left_alone(
    tmp_path: Path, answers: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with keeper(tmp_path, say(*answers)) as path:
        async with linked() as (link, devices):
            await link.connect(path)
            await until_let_go(link)
            assert devices.block_devices is None
            assert [device.block_device for device in devices] == ["0:0", "0:0"]
            assert await devices.hot_add() == 2
    assert "keeper" in caplog.text
    assert "\x1b" not in caplog.text


async def test_an_answer_that_nobody_asked_for_ends_the_link(tmp_path: Path) -> None:
    proceed = threading.Event()

    def talk(link: socket.socket) -> None:
        for answer in (b"0 7:0\n", b"0 7:1\n", b"0 \n"):
            link.recv(4096)
            link.sendall(answer)
        proceed.wait(5)
        link.sendall(b"0 7:9\n")
        link.recv(4096)

    with keeper(tmp_path, talk) as path:
        async with linked() as (link, devices):
            await link.connect(path)
            await until(lambda: devices.block_devices is not None)
            proceed.set()
            await until_let_go(link)
            assert await devices.hot_add() == 2
            assert [device.block_device for device in devices] == ["0:0", "0:0", "0:0"]


async def test_a_keeper_that_never_answers_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_ANSWER_S", 0.05)
    with keeper(tmp_path, say()) as path:
        async with linked() as (link, devices):
            await link.connect(path)
            await until_let_go(link)
            assert await devices.hot_add() == 2


async def test_nobody_listens(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with linked() as (link, _):
        for name in ("missing", "file", "."):
            with pytest.raises(CommandFailed, match="nobody listens"):
                await link.connect(str(tmp_path / name))
        with keeper(tmp_path, obey) as path:
            await link.connect(path)  # the failures have left it free
            assert link.keeper_pid
            link.close()
            await until_let_go(link)


async def test_a_keeper_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peer, "of", classmethod(lambda cls, _: cls(pid=77, uid=os.getuid() + 1)))
    with keeper(tmp_path, obey) as path:
        async with linked() as (link, _):
            with pytest.raises(NotOurKeeper, match="process 77"):
                await link.connect(path)
            assert link.keeper_pid == 0


async def test_a_socket_on_our_own_mount_is_not_looked_for() -> None:
    proc = os.stat("/proc").st_dev  # noqa: PTH116
    async with linked(OwnMount(proc)) as (link, _):
        with pytest.raises(LiesOnOwnMount):
            await link.connect("/proc/self/keeper")


PIECES = st.sampled_from([b"0 7:0\n", b"0 7:1\n", b"0 \n", b"0\n", b"16 busy\n", b"22", b"\n", b" ", b"7:0\n", b"\0"])


@given(st.lists(PIECES | st.binary(max_size=20), max_size=12))
def test_whatever_a_keeper_says_the_daemon_goes_on(
    tmp_path_factory: pytest.TempPathFactory, answers: list[bytes]
) -> None:
    folder = tmp_path_factory.getbasetemp()

    async def talk_to_it() -> None:
        with keeper(folder, _say_and_go(answers)) as path:
            async with linked() as (link, devices):
                await link.connect(path)
                try:
                    await devices.hot_add()
                    await devices.hot_remove(2)
                except ZramError:
                    pass
                link.close()
                await until_let_go(link)
                assert all(device.block_device == "0:0" for device in devices)

    trio.run(talk_to_it)


def _say_and_go(answers: list[bytes]) -> Talk:
    def talk(link: socket.socket) -> None:
        for answer in answers:
            if not link.recv(4096):
                return
            link.sendall(answer or b"\n")

    return talk
