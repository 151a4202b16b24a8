"""The life of a backend of another package that breaks its contract: set up, used, cancelled, lost, and released."""

import threading
import zlib
from collections.abc import Callable
from typing import Any

import hostile
import pytest
import trio
from hostile import (
    PAGE,
    STREAMS,
    WHO,
    Honest,
    HonestManager,
    Package,
    Pages,
    assert_named_once_a_kind,
    codec,
    exits,
    of_manager,
    of_stream,
    opened,
    raises,
    text,
    write,
    write_all,
)
from streams import written

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import load_profile
from zramfs.backends import checked
from zramfs.backends.lz4 import LZ4
from zramfs.backends.promises import MOST_BROKEN, describe
from zramfs.codec.run import FunctionCodec, RunCompressor
from zramfs.contracts import Accelerator, AlgorithmParams, BackendParams
from zramfs.errors import BackendBroken

pytestmark = pytest.mark.usefixtures("impatience")


async def test_accelerator_of_a_package_that_fails_afterwards_is_closed(
    random_pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setup_params(self: Package, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> Any:
        if accelerator is None:
            return BackendParams(algorithm=requested)
        self.manager = accelerator.attach(codec)
        raise ValueError("too late")

    monkeypatch.setattr(Package, "setup_params", setup_params)
    package = Package(HonestManager)
    before = threading.active_count()
    async with opened(package) as disk:
        await write_all(disk, random_pages, 1)
        assert threading.active_count() <= before + 1  # the read helper
    assert package.manager is not None


async def test_stream_that_raises_once_is_used_again(random_pages: Pages) -> None:
    left = [ValueError("once")]

    def submit(self: Honest, *run: Any) -> int:
        if left:
            raise left.pop()
        return Honest.submit(self, *run)

    package = Package(lambda: HonestManager(of_stream(submit=submit)))
    async with opened(package) as disk:
        await write_all(disk, random_pages)
        assert len(package.manager.free) == STREAMS
        assert disk.zcomp.accelerator_statistics()["broken_promises"] == 1
        assert disk.zcomp.manager_error == ""
        assert disk.zcomp.statistics().managed_pages > 0


async def test_managed_streams_are_switched_off_at_the_eighth_broken_promise(random_pages: Pages) -> None:
    async with opened(Package(lambda: HonestManager(of_stream(submit=raises)))) as disk:
        for broken in range(MOST_BROKEN):
            assert disk.zcomp.manager_error == ""
            assert disk.zcomp.accelerator_statistics()["broken_promises"] == broken
            await write(disk, 0, random_pages(1))
        assert "submit() raised ValueError: on purpose" in disk.zcomp.manager_error
        assert f"the last of {MOST_BROKEN} broken promises" in disk.zcomp.manager_error
        before = disk.zcomp.statistics()
        await write(disk, 0, random_pages(1))
        after = disk.zcomp.statistics()
        assert (after.percpu_pages, after.fallback_pages) == (before.percpu_pages + 1, before.fallback_pages)


class Stuck(HonestManager):
    """Its streams never complete, and its `close` waits for them, as one that joins its thread does."""

    def poll_completions(self) -> None:
        pass

    def close(self) -> None:
        assert not self.working, "a close that never ends"

    async def serve_completions(self) -> None:
        with trio.CancelScope(shield=True):
            while not self.working or not self.working[0].is_complete:  # noqa: ASYNC110 - as packages do
                await trio.sleep(0.001)


async def test_device_ends_beside_a_stream_that_never_completes(
    random_pages: Pages, log: pytest.LogCaptureFixture
) -> None:
    package = Package(Stuck)
    async with opened(package) as disk:
        data = random_pages(1)
        await write(disk, 0, data)
        assert disk.read(0, 1) == data
    assert not package.is_released
    assert "1 of its streams do not end, and stay behind" in log.text


async def test_daemon_that_ends_waits_for_no_stream(random_pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "TICK_S", 1000)
    package = Package(lambda: of_manager(poll_completions=lambda _: None)(waits=True))
    async with opened(package) as disk:
        data = random_pages(STREAMS + 2)
        writes = [
            disk.write(page, data[page * PAGE : (page + 1) * PAGE], is_async=True)
            for page in range(STREAMS + 2)  # the last two wait for a stream
        ]
        assert disk.may_stall()
        assert not any(each.is_done for each in writes)
        disk.zcomp.abandon()
        assert all(each.is_done for each in writes)
        assert disk.read(0, STREAMS + 2) == data


async def test_what_a_lost_stream_does_later_changes_nothing(random_pages: Pages) -> None:
    package = Package(of_manager(poll_completions=lambda _: None))
    async with opened(package) as disk:
        first, second = random_pages(1, 1), random_pages(1, 2)
        await write(disk, 0, first)
        await write(disk, 0, second)
        for stream in package.manager.working:
            stream.complete()
        assert disk.read(0, 1) == second
        assert disk.zcomp.accelerator_statistics()["broken_promises"] == 2
        assert disk.zcomp.accelerator_statistics()["software_redone"] == 2
    assert package.is_released


async def test_cancelled_device_completes_what_is_in_flight(random_pages: Pages) -> None:
    data = random_pages(2)
    package = Package(of_manager(poll_completions=lambda _: None))
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with opened(package) as disk:
            begun = disk.write(0, data, is_async=True)
            scope.cancel()
            with trio.CancelScope(shield=True):
                assert (await written(begun)).kinds == (0, 2, 0)
                assert disk.read(0, 2) == data
    assert scope.cancelled_caught


# ---- codecs ------------------------------------------------------------------------------------------------------


def codec_failing_on(marker: bytes, result: Any) -> Callable[..., FunctionCodec]:
    def compress(page: bytes) -> Any:
        if page.startswith(marker):
            return result()
        return zlib.compress(page, 1)

    return lambda *_: FunctionCodec(compress, zlib.decompress)


@pytest.mark.parametrize("result", [raises, exits, lambda: b"", lambda: "text", lambda: None, lambda: 4096])
@pytest.mark.parametrize("is_async", [True, False])
async def test_page_that_its_codec_cannot_compress_keeps_its_old_contents(
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
    result: Any,
    *,
    is_async: bool,
) -> None:
    monkeypatch.setattr(Package, "create_context", codec_failing_on(b"bad", result))
    old, new = text(3, 1), text(3, 2)
    new = new[:PAGE] + b"bad" + new[PAGE + 3 :]
    package = Package(HonestManager)
    async with opened(package) as disk:
        await written(disk.write(0, old, is_async=is_async))
        monkeypatch.setattr(Honest, "compress", lambda self, *run: self.compressor.compress(*run))
        package_codec = codec_failing_on(b"bad", result)()
        for stream in package.manager.streams:
            stream.compressor = RunCompressor(package_codec, 32)
            stream.run = stream.compressor.run
        await written(disk.write(0, new, is_async=is_async))
        assert disk.failed_pages == 1
        assert disk.read(0, 3) == new[:PAGE] + old[PAGE : 2 * PAGE] + new[2 * PAGE :]
        assert disk.zcomp.manager_error == ""
    assert f"{WHO}: compress() failed on a page" in log.text
    assert_named_once_a_kind(log)


@pytest.mark.parametrize("result", [b"", b"short", bytes(PAGE + 1), None, "x" * PAGE, [0] * PAGE])
def test_decompressed_page_has_4096_bytes(result: Any) -> None:
    told: list[str] = []
    codec = FunctionCodec(zlib.compress, lambda _: result)
    codec.on_failure = lambda function, error: told.append(f"{function} {describe(error)}")
    with pytest.raises(ValueError, match="does not decompress to one page"):
        codec.decompress(b"data")
    assert len(told) == 1
    assert told[0].startswith("decompress ")


# ---- backends ------------------------------------------------------------------------------------------------------


def setting_up(result: Any) -> Callable[..., Any]:
    """Make a setup_params that fails with an accelerator."""

    def setup_params(self: Package, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> Any:
        del self
        return BackendParams(algorithm=requested) if accelerator is None else result()

    return setup_params


@pytest.mark.parametrize(
    "result",
    [
        raises,
        exits,
        lambda: None,
        lambda: BackendParams(algorithm="none"),  # type: ignore[arg-type]
        lambda: BackendParams(algorithm=AlgorithmParams(), manager="none"),  # type: ignore[arg-type]
    ],
)
async def test_backend_whose_managed_streams_cannot_be_set_up_has_per_cpu_streams(
    random_pages: Pages,
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
    result: Any,
) -> None:
    monkeypatch.setattr(Package, "setup_params", setting_up(result))
    async with opened(Package(HonestManager)) as disk:
        await write_all(disk, random_pages, 1)
        assert disk.zcomp.manager_error.startswith(f"{WHO}: setup_params()")
        assert disk.zcomp.statistics().managed_streams == 0
    assert f"{WHO}: setup_params()" in log.text


_ONE = codec()


@pytest.mark.parametrize("context", [object, lambda: _ONE, raises])
async def test_accelerator_gets_contexts_that_are_its_own(
    random_pages: Pages, monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    def setup_params(self: Package, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        self.manager = accelerator.attach(context) if accelerator else None
        return BackendParams(algorithm=requested, manager=self.manager)

    monkeypatch.setattr(Package, "setup_params", setup_params)
    async with opened(Package(HonestManager)) as disk:
        await write_all(disk, random_pages, 1)
        assert disk.zcomp.manager_error.startswith(f"{WHO}: create_context()")


@pytest.mark.parametrize("method", ["setup_params", "create_context"])
@pytest.mark.parametrize("result", [raises, exits, lambda *_, **__: None, lambda *_, **__: _ONE])
def test_backend_that_cannot_be_set_up_at_all_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, method: str, result: Any
) -> None:
    monkeypatch.setattr(Package, method, lambda *_, **__: result())
    backend = checked.checked(Package(HonestManager))

    def set_up() -> None:
        params = backend.setup_params(AlgorithmParams(), accelerator=None)
        backend.create_context(params)
        backend.create_context(params)

    with pytest.raises(BackendBroken) as caught:
        set_up()
    assert str(caught.value).startswith(f"{WHO}: {method}()")
    assert "\n" not in str(caught.value)


async def test_package_that_cannot_be_released_does_not_keep_the_device(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Package, "release_params", raises)
    async with opened(Package(HonestManager)) as disk:
        disk.zcomp.close()
    assert f"{WHO}: release_params() raised ValueError: on purpose" in log.text


async def test_ours_are_not_checked() -> None:
    assert checked.checked(LZ4) is LZ4
    params = LZ4.setup_params(AlgorithmParams(), accelerator=EmulatedAccelerator(load_profile("ideal")))
    assert not isinstance(params.manager, checked.WatchedStreams)
    LZ4.release_params(params)


def test_error_of_a_package_is_one_line_that_says_where() -> None:
    class RudeError(Exception):
        def __str__(self) -> str:
            raise ValueError("no text for you")

    assert describe(RudeError()) == "RudeError"
    try:
        raises()
    except ValueError as error:
        assert hostile.__file__ in describe(error)
