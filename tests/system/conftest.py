"""Real mounts, loop devices and programs. Whatever a test leaves behind is taken away here, also when it fails."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from guides import own_environment
from mounts import Mounted, is_mounted, prepared
from of_the_host import is_of_the_host

from zramfs.errors import MountFailed
from zramfs.mountinfo import read_mounts
from zramfs.receive.choice import choose_transport


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    reason = _why_no_mounts()
    for item in items:
        if reason and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


_OF_THE_DATA: Final = {
    "test_block_file",
    "test_coherence",
    "test_discard",
    "test_faults",
    "test_hung_backing",
    "test_loop_and_swap",
    "test_signals",
    "test_streams",
    "test_transports",
    "test_waiting_writers",
    "test_writeback",
}
"""Tests of what a transport carries: on each of them. The others look at what does not depend on it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Test mounts on those transports that are asked for, or that their module is for."""
    if "transport" in metafunc.fixturenames:
        own = getattr(metafunc.module, "TRANSPORT", None)
        asked = metafunc.config.getoption("--transports")
        names = (
            asked.split(",")
            if asked
            else ["dev", "uring"]
            if own or Path(metafunc.module.__file__).stem in _OF_THE_DATA
            else ["dev"]
        )
        metafunc.parametrize("transport", [name for name in names if own in (None, name)], indirect=True)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """Return the transport of the test's mounts."""
    name: str = request.param
    try:
        return choose_transport(name)
    except MountFailed as error:
        pytest.skip(str(error))


def _why_no_mounts() -> str:
    if os.geteuid() != 0:
        return "mounts, loop devices and swap need root"
    if not Path("/dev/fuse").exists():
        return "no /dev/fuse"
    return "" if shutil.which("fusermount3") else "no fusermount3"


@pytest.fixture(scope="session", autouse=True)
def no_mount_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail at the end if something is still mounted in a folder of these tests, and take it away.

    A worker's own mounts are not seen outside, and a daemon of one would keep it.
    """
    yield
    folder = tmp_path_factory.getbasetemp()
    left = [mounted.point for mounted in read_mounts() if mounted.point.is_relative_to(folder)]
    for point in reversed(left):
        subprocess.run(["umount", "--lazy", point], check=False)
    assert left == []


@pytest.fixture(autouse=True)
def one_worker_for_tests_of_the_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fail where a second worker has tests of the host: the scheduler has not kept them together."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None or not is_of_the_host(request.node.nodeid):
        return
    noted = tmp_path_factory.getbasetemp().parent / "worker-of-the-host"
    with suppress(FileExistsError), noted.open("x") as file:
        file.write(worker)
    assert noted.read_text() == worker


@pytest.fixture
def mount(tmp_path: Path, transport: str) -> Iterator[Callable[..., Mounted]]:
    """Mount with the options given, by the test's transport unless they name one; each in a folder of its own."""
    mounts: list[Mounted] = []

    def make(*options: object, size: str | None = "256M", companion: bool = True) -> Mounted:
        if not companion and transport == "uring" and "--transport" not in options:
            pytest.skip("the companion brings requests to the rings")
        path = tmp_path / f"mnt{len(mounts)}"
        path.mkdir()
        log = tmp_path / f"log{len(mounts)}"
        sizes = ("--size", size) if size else ()
        by = ("--transport", transport) if companion and "--transport" not in options else ()
        result = prepared("mount", path, *sizes, "--log-file", log, *by, *options, companion=companion)
        assert result.returncode == 0, result.stderr
        mounts.append(Mounted(path, log))
        return mounts[-1]

    yield make
    for mounted in mounts:
        _take_away(mounted)
        assert "Traceback" not in mounted.log.read_text(), mounted.log.read_text()


def _take_away(mounted: Mounted) -> None:
    if is_mounted(mounted.path):
        with suppress(OSError):  # a dead mount cannot be looked at, and umount takes away what it has left
            for device in mounted.path.glob("zram*"):
                _detach_loops(device)
        if prepared("umount", mounted.path).returncode != 0:
            subprocess.run(["fusermount3", "-u", "-z", mounted.path], check=False)
    if mounted.is_running():
        signal.pidfd_send_signal(mounted.daemon_fd, signal.SIGTERM)
        mounted.wait_for_daemon_end()


def _detach_loops(block_file: Path) -> None:
    listed = subprocess.run(
        ["losetup", "-j", block_file, "-n", "-O", "NAME"], capture_output=True, text=True, check=False
    )
    for loop in listed.stdout.split():
        if f"{loop} " in Path("/proc/swaps").read_text():
            subprocess.run(["swapoff", loop], check=False)
        subprocess.run(["umount", "-q", loop], check=False)
        subprocess.run(["losetup", "-d", loop], check=False)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of somebody who follows a page: zramfs and pip are theirs alone."""
    return own_environment(tmp_path_factory.mktemp("environment"))


@pytest.fixture
def reader_folder(tmp_path: Path) -> Iterator[Path]:
    """Give the reader of a page a folder; swap, loop devices and mounts that are left in it are taken away."""
    yield tmp_path
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        mountpoint, kind = line.split()[1:3]
        if mountpoint.startswith(f"{tmp_path}/"):
            for block_file in Path(mountpoint).glob("zram*") if kind == "fuse.zramfs" else ():
                _detach_loops(block_file)
            subprocess.run(["umount", "--lazy", mountpoint], check=False)


@pytest.fixture
def fio() -> Callable[..., None]:
    """Write and verify a file with fio; fails if a byte differs."""
    if shutil.which("fio") is None:
        pytest.skip("fio is not installed")

    verified = ("--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0")

    def run(file: Path, *options: str) -> None:
        result = subprocess.run(
            ["fio", "--name=test", f"--filename={file}", *verified, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr

    return run


@pytest.fixture
def loop_devices() -> None:
    """Skip where a container has none."""
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices here")
