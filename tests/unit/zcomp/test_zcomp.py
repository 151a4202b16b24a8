import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from slow import SlowLz4, on_one_cpu
from streams import completed

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.managed import ManagedStream
from zramfs.accel.profile import parse_accelerator
from zramfs.backends.lz4 import LZ4
from zramfs.codec.run import PageCodec
from zramfs.contracts import AlgorithmParams, StreamPolicy
from zramfs.errors import AcceleratorUnavailable, InvalidValue
from zramfs.streams import StreamManager
from zramfs.zcomp.zcomp import PERCPU_RUN_PAGES, PercpuStream, Zcomp

PAGE = 4096


@asynccontextmanager
async def opened(accelerator: str = "poc", policy: StreamPolicy = StreamPolicy.AUTO) -> AsyncIterator[Zcomp]:
    profile = parse_accelerator(accelerator)
    zcomp = Zcomp(LZ4, accelerator=EmulatedAccelerator(profile) if profile else None, policy=policy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(zcomp.serve_completions)
        try:
            yield zcomp
        finally:
            zcomp.close()


async def write(zcomp: Zcomp, source: bytes, *, is_async: bool) -> None:
    """Compress a source run by run, as the device does."""
    page, end = 0, len(source) // PAGE
    while page < end:
        stream, taken = zcomp.submit(source, page * PAGE, end - page, is_async=is_async)
        await completed(stream)
        zcomp.put_stream(stream)
        page += taken


@pytest.mark.parametrize(
    ("policy", "is_async", "kind"),
    [
        (StreamPolicy.AUTO, True, ManagedStream),
        (StreamPolicy.AUTO, False, PercpuStream),
        (StreamPolicy.MANAGED, True, ManagedStream),
        (StreamPolicy.MANAGED, False, ManagedStream),
        (StreamPolicy.PERCPU, True, PercpuStream),
        (StreamPolicy.PERCPU, False, PercpuStream),
    ],
)
@pytest.mark.parametrize("change_later", [False, True])
async def test_the_policy_chooses_the_kind_of_stream(
    policy: StreamPolicy, *, is_async: bool, kind: type, change_later: bool
) -> None:
    async with opened(policy=StreamPolicy.AUTO if change_later else policy) as zcomp:
        zcomp.policy = policy
        stream, _ = zcomp.submit(os.urandom(PAGE), 0, 1, is_async=is_async)
        await completed(stream)
        assert isinstance(stream, kind)
        zcomp.put_stream(stream)
        assert zcomp.policy is policy


@pytest.mark.parametrize("policy", StreamPolicy)
@pytest.mark.parametrize("is_async", [False, True])
async def test_without_an_accelerator_every_write_is_per_cpu(policy: StreamPolicy, *, is_async: bool) -> None:
    async with opened("none", policy) as zcomp:
        await write(zcomp, os.urandom(40 * PAGE), is_async=is_async)
        statistics = zcomp.statistics()
        assert (statistics.percpu_pages, statistics.managed_pages, statistics.fallback_pages) == (40, 0, 0)
        assert statistics.managed_streams == 0
        assert zcomp.accelerator_statistics() == {}


async def test_a_per_cpu_stream_takes_32_pages_at_a_time() -> None:
    async with opened() as zcomp:
        stream, taken = zcomp.submit(bytes(100 * PAGE), 0, 100, is_async=False)
        assert taken == len(stream.run) == PERCPU_RUN_PAGES == 32
        assert stream.is_complete


def test_a_slow_codec_has_shorter_runs_and_bios_in_one_go() -> None:
    zcomp = Zcomp(SlowLz4())
    source = os.urandom(8 * PAGE)
    assert zcomp.one_go_pages() == PERCPU_RUN_PAGES
    with on_one_cpu():
        stream, taken = zcomp.submit(source, 0, 8, is_async=False)
        assert stream is not None
        assert taken == len(stream.run) == 2
        assert stream.is_complete
        assert zcomp.one_go_pages() == 1
    zcomp.close()


async def test_what_the_queue_does_not_take_falls_back_to_the_cpu() -> None:
    async with opened("poc,queue_depth=3") as zcomp:
        source = os.urandom(10 * PAGE)
        managed, taken = zcomp.submit(source, 0, 10, is_async=True)
        assert taken == 3
        percpu, rest = zcomp.submit(source, 3 * PAGE, 7, is_async=True)
        assert isinstance(percpu, PercpuStream)
        assert rest == 7
        await completed(managed)
        zcomp.put_stream(percpu)
        zcomp.put_stream(managed)
        statistics = zcomp.statistics()
        assert (statistics.managed_pages, statistics.fallback_pages, statistics.percpu_pages) == (3, 7, 0)
        assert zcomp.accelerator_statistics()["queue_full"] == 1


@pytest.mark.parametrize("policy", StreamPolicy)
@pytest.mark.parametrize("accelerator", ["ideal", "poc,queue_depth=5", "ideal,queue_depth=1,polled_run_pages=0"])
async def test_every_page_is_counted_once(policy: StreamPolicy, accelerator: str) -> None:
    async with opened(accelerator, policy) as zcomp:
        async with trio.open_nursery() as nursery:
            for pages in range(1, 41):
                source = os.urandom(pages * PAGE)

                async def writer(source: bytes = source, *, is_async: bool = bool(pages % 3)) -> None:
                    await write(zcomp, source, is_async=is_async)

                nursery.start_soon(writer)
        for _ in range(7):
            zcomp.put_stream(zcomp.submit_patched_page(os.urandom(PAGE)))
        statistics = zcomp.statistics()
        counted = statistics.percpu_pages + statistics.managed_pages + statistics.fallback_pages
        assert counted == sum(range(1, 41)) + 7
        assert statistics.managed_pages == zcomp.accelerator_statistics()["submitted_pages"]
        assert statistics.inflight == 0


@pytest.mark.parametrize("policy", StreamPolicy)
async def test_a_patched_page_is_compressed_at_once_whatever_the_policy(policy: StreamPolicy) -> None:
    async with opened("poc", policy) as zcomp:
        stream = zcomp.submit_patched_page((b"patched " * 512)[:-1] + b"!")
        assert stream.is_complete
        assert zcomp.statistics().percpu_pages == 1
        zcomp.put_stream(stream)


async def test_there_is_a_per_cpu_stream_for_each_cpu() -> None:
    async with opened("poc") as zcomp:
        assert zcomp.statistics().percpu_streams == len(os.sched_getaffinity(0))
        assert zcomp.statistics().managed_streams == 128


async def test_an_accelerator_that_is_unavailable_leaves_the_per_cpu_streams() -> None:
    class Broken:
        def settings(self) -> dict[str, int | str]:
            return {"profile": "broken"}

        def attach(self, create_context: Callable[[], PageCodec]) -> StreamManager:
            del create_context
            raise AcceleratorUnavailable("out of order")

    zcomp = Zcomp(LZ4, accelerator=Broken(), policy=StreamPolicy.MANAGED)
    await write(zcomp, os.urandom(PAGE), is_async=True)
    assert zcomp.params.manager_error == "out of order"
    assert zcomp.statistics().percpu_pages == 1
    assert zcomp.statistics().managed_streams == 0
    await zcomp.serve_completions()
    zcomp.close()


def test_a_level_that_the_backend_refuses_is_an_error() -> None:
    with pytest.raises(InvalidValue):
        Zcomp(LZ4, algorithm_params=AlgorithmParams(level=0))
