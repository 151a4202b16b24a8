"""What many tests need: devices, pages, the memory in use. Factories of the session, so that Hypothesis takes them."""

import random
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from compiled import compiled
from hypothesis import HealthCheck, settings
from of_the_host import is_of_the_host
from strict_machine import is_error
from uring_switch import uring_switched_on

from zramfs import kernel
from zramfs.abi import NEWEST, ZramAbi
from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.backends.lz4 import LZ4
from zramfs.block.layer import BlockLayer
from zramfs.contracts import Accelerator, Backend, StreamPolicy
from zramfs.device import backing_link
from zramfs.device.device import ZramDevice
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.units import PAGE_SIZE

if TYPE_CHECKING:
    from backing_forks import BackingForks
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

settings.register_profile(
    "zramfs",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("zramfs")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let all tests of mounts run on one transport, or on several; and let no test be skipped unnoticed."""
    parser.addoption("--transports", default="", help="Those that mounts are tested on; default: as each test is for.")
    parser.addoption(
        "--strict-machine", action="store_true", help="Fail where a test is skipped for want of something."
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With --strict-machine, make an error of a test that this machine cannot run."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--strict-machine"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if is_error(reason):
            report.outcome, report.longrepr = "failed", f"--strict-machine: {reason}"
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Switch FUSE over io_uring on for the tests, if it is there and this is root; the workers' parent does.

    Each worker has mounts of its own: a test that begins a mount namespace copies what is mounted, and would keep what
    tests of other workers have mounted in use.
    """
    config.stash[_URING] = ExitStack()
    if hasattr(config, "workerinput"):
        with suppress(PermissionError):
            kernel.enter_new_mount_namespace()
    elif config.getoption("--transports") != "dev":
        config.stash[_URING].enter_context(uring_switched_on())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the switch as it was, unless another run still needs it."""
    config.stash[_URING].close()


_URING = pytest.StashKey[ExitStack]()

# As in `make test &` in a script: what the tests start would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    """Give all tests of the host to one worker, first of all, and each other test to whoever is free, in their order.

    Tests of mounts come before unit tests, which are short: no worker is idle at the end.

    Not by marks (xdist_group): pytest-xdist 3.8 notes them in a field of tests that pytest 9.2 does not read.
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only there where this is called

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "host" if is_of_the_host(nodeid) else nodeid

        def mark_test_complete(self, node: "WorkerController", item_index: int, duration: float = 0) -> None:
            """Forget the test: xdist would count all that a worker has had, again and again, which takes seconds."""
            del duration
            nodeid = self.registered_collections[node][item_index]
            work, scope = self.assigned_work[node], self._split_scope(nodeid)
            del work[scope][nodeid]
            if not work[scope]:
                del work[scope]
            self._reschedule(node)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def backing_forks() -> Iterator["BackingForks"]:
    """Have a process that forks backing processes; it starts when a test first needs one."""
    from backing_forks import BackingForks  # noqa: PLC0415 - tests of mounts have no use for it

    forks = BackingForks()
    yield forks
    forks.close()


@pytest.fixture(scope="module")
def forked_backing(backing_forks: "BackingForks") -> Iterator[None]:
    """Fork the backing processes of a module's tests instead of starting them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backing_link, "_spawn", backing_forks.spawn)
        yield


_WORDS = [b"zspage ", b"descriptor ", b"doorbell ", b"slot ", b"stream ", b"handle ", b"\n"]


@asynccontextmanager
async def _open_server(*, receivers: int = 0, crew: int = 0) -> AsyncIterator[BioServer]:
    layer = BlockLayer(receivers, crew)
    server = BioServer(layer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
            layer.close()


@asynccontextmanager
async def _open_device(
    pages: int,
    *,
    accelerator: str | Accelerator | None = "ideal",
    policy: StreamPolicy = StreamPolicy.AUTO,
    backend: Backend = LZ4,
    abi: ZramAbi = NEWEST,
    mem_limit_pages: int = 0,
    backing: Path | None = None,
    compressed_writeback: bool = False,
    secondaries: Mapping[int, Backend] | None = None,
    receivers: int = 0,
    crew: int = 0,
) -> AsyncIterator[ZramDevice]:
    if isinstance(accelerator, str):
        profile = parse_accelerator(accelerator)
        accelerator = None if profile is None else EmulatedAccelerator(profile)
    config = DeviceConfig(
        backend=backend,
        abi=abi,
        accelerator=accelerator,
        policy=policy,
        mem_limit_pages=mem_limit_pages,
    )
    async with _open_server(receivers=receivers, crew=crew) as server, trio.open_nursery() as nursery:
        device = ZramDevice("zram0", server=server, nursery=nursery, config=config)
        for priority, secondary in (secondaries or {}).items():
            device.settings.set_backend(secondary, priority)
        if backing is not None:
            await device.upkeep.choose_backing(str(backing))
        device.settings.compress_writeback(wanted=compressed_writeback)
        device.initialise(pages * PAGE_SIZE)
        try:
            yield device
        finally:
            device.close()
            await device.writeback.wait_until_released()


def _compressible_pages(count: int, seed: int = 0) -> bytes:
    choice = random.Random(seed).choices
    return b"".join(b"".join(choice(_WORDS, k=820))[:PAGE_SIZE] for _ in range(count))


def _random_pages(count: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(count * PAGE_SIZE)


def _resident_bytes() -> int:
    """Not from statm, which counts in pages of the system."""
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024


@pytest.fixture(scope="session")
def open_server() -> Callable[..., AbstractAsyncContextManager[BioServer]]:
    """Open the event loop's end of a block layer, with channels for so many receivers."""
    return _open_server


@pytest.fixture(scope="session")
def open_device() -> Callable[..., AbstractAsyncContextManager[ZramDevice]]:
    """Open an initialised device of so many pages, and close it at the end.

    `receivers` are the threads that a test brings along, with the channels from 1 on; `crew` are those of the layer.
    """
    return _open_device


@pytest.fixture(scope="session")
def compressible_pages() -> Callable[..., bytes]:
    """Make pages of text, each another for each count and seed."""
    return _compressible_pages


@pytest.fixture(scope="session")
def random_pages() -> Callable[..., bytes]:
    """Make pages that no codec shrinks."""
    return _random_pages


@pytest.fixture(scope="module")
def doors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Compile and import the doors beside a test, which lead to what Python does not reach."""
    return compiled(request.path.with_name("doors.pyx"), tmp_path_factory)


@pytest.fixture(scope="session")
def resident_bytes() -> Callable[[], int]:
    """Read this process's resident memory."""
    return _resident_bytes
