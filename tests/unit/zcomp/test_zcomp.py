import os
import threading
from collections.abc import Callable

import pytest
import trio
from slow import SlowLz4, on_one_cpu
from streams import opened_trial, written

from zramfs.backends.deflate import DEFLATE
from zramfs.backends.lz4 import LZ4, Lz4Backend
from zramfs.codec.run import PageCodec
from zramfs.contracts import AlgorithmParams, StreamPolicy
from zramfs.errors import AcceleratorUnavailable, InvalidValue
from zramfs.streams import StreamManager
from zramfs.zcomp.trial import Trial
from zramfs.zcomp.zcomp import FALLBACK_RUN_PAGES, PERCPU_RUN_PAGES, Zcomp

PAGE = 4096
NEVER_NS = (1 << 63) - 1
PERCPU, MANAGED, FALLBACK = range(3)


def run_threads(*targets: Callable[[], object]) -> None:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("policy", "is_async", "kind"),
    [
        (StreamPolicy.AUTO, True, MANAGED),
        (StreamPolicy.AUTO, False, PERCPU),
        (StreamPolicy.MANAGED, True, MANAGED),
        (StreamPolicy.MANAGED, False, MANAGED),
        (StreamPolicy.PERCPU, True, PERCPU),
        (StreamPolicy.PERCPU, False, PERCPU),
    ],
)
@pytest.mark.parametrize("change_later", [False, True])
@pytest.mark.parametrize("accelerator", ["poc", "ideal"])
async def test_the_policy_chooses_the_kind_of_stream(
    accelerator: str, policy: StreamPolicy, *, is_async: bool, kind: int, change_later: bool
) -> None:
    async with opened_trial(accelerator, StreamPolicy.AUTO if change_later else policy) as disk:
        disk.zcomp.policy = policy
        data = os.urandom(PAGE)
        write = await written(disk.write(0, data, is_async=is_async))
        assert write.kinds[kind] == sum(write.kinds) == 1
        assert disk.read(0, 1) == data
        assert disk.zcomp.policy is policy


@pytest.mark.parametrize("policy", StreamPolicy)
@pytest.mark.parametrize("is_async", [False, True])
async def test_without_an_accelerator_every_write_is_per_cpu(policy: StreamPolicy, *, is_async: bool) -> None:
    async with opened_trial("none", policy) as disk:
        write = disk.write(0, os.urandom(40 * PAGE), is_async=is_async)
        assert write.is_done
        assert write.kinds == (40, 0, 0)
        assert disk.zcomp.statistics().managed_streams == 0
        assert disk.zcomp.accelerator_statistics() == {}
        assert disk.next_event_ns() == NEVER_NS
        assert (disk.reap(), disk.lend_hand(), disk.may_stall()) == (False, False, False)


def test_a_per_cpu_stream_takes_32_pages_at_a_time() -> None:
    disk = Trial(Zcomp(LZ4), 100)
    write = disk.write(0, bytes(100 * PAGE), is_async=False)
    assert PERCPU_RUN_PAGES == 32
    assert write.runs == 4


def test_a_slow_codec_has_shorter_runs_and_bios_in_one_go() -> None:
    zcomp = Zcomp(SlowLz4())
    disk = Trial(zcomp, 8)
    assert disk.one_go_pages() == PERCPU_RUN_PAGES
    with on_one_cpu():
        assert disk.is_nowait(8, is_async=True)
        assert disk.write(0, os.urandom(8 * PAGE), is_async=False).runs == 4
        assert disk.one_go_pages() == 1
        assert not disk.is_nowait(2, is_async=True)
        assert disk.is_nowait(1, is_async=True)
    zcomp.close()


async def test_what_the_queue_does_not_take_falls_back_to_the_cpu() -> None:
    async with opened_trial("poc,queue_depth=3") as disk:
        data = os.urandom(19 * PAGE)
        write = await written(disk.write(0, data, is_async=True))
        statistics = disk.zcomp.statistics()
        assert write.kinds[MANAGED] >= 3
        assert write.kinds[FALLBACK] >= FALLBACK_RUN_PAGES
        assert (statistics.managed_pages, statistics.fallback_pages) == write.kinds[MANAGED:]
        assert statistics.percpu_pages == sum(statistics.percpu_pages_by_cpu.values()) == 0
        assert disk.zcomp.accelerator_statistics()["queue_full"] >= 1
        assert disk.read(0, 19) == data


async def test_a_run_that_may_not_begin_is_done_by_the_cpu_and_never_waits() -> None:
    async with opened_trial("poc,queue_depth=3,when_full=wait") as disk:
        write = disk.write(0, os.urandom(19 * PAGE), is_async=True, may_begin=False)
        assert write.is_done
        assert write.kinds == (0, 0, 19)
        assert write.runs >= 3


async def test_writers_that_wait_are_all_served_in_the_end() -> None:
    async with opened_trial("poc,queue_depth=3,when_full=wait") as disk:
        assert disk.may_stall()
        data = [os.urandom(7 * PAGE) for _ in range(20)]
        with trio.fail_after(20):
            writes = [disk.write(7 * i, each, is_async=True) for i, each in enumerate(data)]
            for write in writes:
                assert (await written(write)).kinds == (0, 7, 0)
        assert disk.read(0, 140) == b"".join(data)


@pytest.mark.parametrize("policy", StreamPolicy)
@pytest.mark.parametrize("accelerator", ["ideal", "poc,queue_depth=5", "ideal,queue_depth=1,polled_run_pages=0"])
async def test_every_page_is_counted_once(policy: StreamPolicy, accelerator: str) -> None:
    async with opened_trial(accelerator, policy) as disk:
        page, writes, expected = 0, [], b""
        for pages in range(1, 41):
            data = os.urandom(pages * PAGE)
            writes.append(disk.write(page, data, is_async=bool(pages % 3)))
            page, expected = page + pages, expected + data
        for write in writes:
            await written(write)
        for _ in range(7):
            disk.patch_page(page, os.urandom(PAGE))
        statistics = disk.zcomp.statistics()
        assert disk.read(0, page) == expected
        assert statistics.percpu_pages + statistics.managed_pages + statistics.fallback_pages == page + 7
        assert sum(sum(write.kinds) for write in writes) == page
        assert sum(statistics.percpu_pages_by_cpu.values()) == statistics.percpu_pages
        assert statistics.managed_pages == disk.zcomp.accelerator_statistics()["submitted_pages"]
        assert statistics.inflight == 0


@pytest.mark.parametrize("policy", StreamPolicy)
async def test_a_patched_page_is_compressed_at_once_whatever_the_policy(policy: StreamPolicy) -> None:
    async with opened_trial("poc", policy) as disk:
        page = (b"patched " * 512)[:-1] + b"!"
        disk.patch_page(5, page)
        assert disk.read(5, 1) == page
        assert disk.zcomp.statistics().percpu_pages == 1


async def test_there_is_a_per_cpu_stream_for_each_cpu() -> None:
    async with opened_trial("poc") as disk:
        statistics = disk.zcomp.statistics()
        assert statistics.percpu_pages_by_cpu.keys() == os.sched_getaffinity(0)
        assert statistics.percpu_streams == len(os.sched_getaffinity(0))
        assert statistics.managed_streams == 128


@pytest.mark.parametrize("cpu", sorted(os.sched_getaffinity(0)))
def test_a_writer_uses_the_stream_of_its_cpu(cpu: int) -> None:
    disk = Trial(Zcomp(LZ4), 8)

    def write() -> None:
        os.sched_setaffinity(0, {cpu})
        disk.write(0, os.urandom(3 * PAGE), is_async=False)
        disk.patch_page(0, bytes(PAGE))

    run_threads(write)
    expected = dict.fromkeys(os.sched_getaffinity(0), 0) | {cpu: 4}
    statistics = disk.zcomp.statistics()
    assert statistics.percpu_pages_by_cpu == expected
    assert {f"percpu_pages_cpu{cpu}": 4, "percpu_pages": 4}.items() <= statistics.counters().items()
    assert all(isinstance(value, int) for value in statistics.counters().values())


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_a_cpu_that_the_process_may_not_use_has_another_one_s_stream() -> None:
    own, other = sorted(os.sched_getaffinity(0))[:2]
    with on_one_cpu():
        zcomp = Zcomp(LZ4)
    disk = Trial(zcomp, 1)
    data = os.urandom(PAGE)

    def write() -> None:
        os.sched_setaffinity(0, {other})
        disk.write(0, data, is_async=False)

    run_threads(write)
    assert zcomp.statistics().percpu_pages_by_cpu == {own: 1}
    assert disk.read(0, 1) == data


def test_a_writer_waits_for_the_stream_of_its_cpu() -> None:
    zcomp = Zcomp(SlowLz4())
    disks = [Trial(zcomp, 20) for _ in range(3)]
    data = [os.urandom(20 * PAGE) for _ in disks]
    with on_one_cpu():  # the threads inherit it, and the codec sleeps while it has the stream
        run_threads(
            *(
                lambda disk=disk, each=each: disk.write(0, each, is_async=True)
                for disk, each in zip(disks, data, strict=True)
            )
        )
    assert [disk.read(0, 20) for disk in disks] == data
    assert zcomp.lock_waits() == zcomp.statistics().percpu_waits > 0
    assert zcomp.statistics().percpu_pages == 60


@pytest.mark.parametrize("accelerator", ["none", "ideal", "poc,queue_depth=40", "poc,queue_depth=9,when_full=wait"])
async def test_several_threads_write_through_one_zcomp(
    accelerator: str, compressible_pages: Callable[..., bytes]
) -> None:
    async with opened_trial(accelerator) as disk:
        disks = [Trial(disk.zcomp, 64) for _ in range(4)]
        source = [compressible_pages(64, seed) for seed in range(4)]

        def write(number: int) -> None:
            disks[number].write(0, source[number], is_async=False)
            for turn in range(60):
                page = turn % 32
                data = source[number][page * PAGE : (page + 1 + turn % 3 * 15) * PAGE]
                own = disks[number].write(page, data, is_async=bool(turn % 2))
                while not own.is_done:
                    disks[number].reap()
                disks[number].lend_hand()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(trio.to_thread.run_sync, write, number)
        assert [each.read(0, 64) for each in disks] == source
        statistics = disk.zcomp.statistics()
        written_pages = 4 * (64 + sum(1 + turn % 3 * 15 for turn in range(60)))
        assert statistics.percpu_pages + statistics.managed_pages + statistics.fallback_pages == written_pages
        assert statistics.inflight == 0


@pytest.mark.parametrize("accelerator", ["none", "ideal"])
async def test_compiled_streams_are_for_any_thread_and_those_in_python_are_not(accelerator: str) -> None:
    async with opened_trial(accelerator) as disk:
        assert disk.zcomp.any_thread
    async with opened_trial(accelerator, backend=SlowLz4()) as disk:
        assert not disk.zcomp.any_thread


@pytest.mark.parametrize("accelerator", ["none", "ideal"])
async def test_a_package_without_python_streams_and_contexts_is_for_any_thread(accelerator: str) -> None:
    class Compiled(Lz4Backend):
        """Of another package, to zramfs."""

    async with opened_trial(accelerator, backend=Compiled()) as disk:
        assert disk.zcomp.any_thread
        assert disk.zcomp.backend.name == "lz4"
        assert disk.zcomp.backend is not LZ4


async def test_an_accelerator_that_is_unavailable_leaves_the_per_cpu_streams() -> None:
    class Broken:
        def settings(self) -> dict[str, int | str]:
            return {"profile": "broken"}

        def attach(self, create_context: Callable[[], PageCodec]) -> StreamManager:
            del create_context
            raise AcceleratorUnavailable("out of order")

    zcomp = Zcomp(LZ4, accelerator=Broken(), policy=StreamPolicy.MANAGED)
    assert Trial(zcomp, 1).write(0, os.urandom(PAGE), is_async=True).kinds == (1, 0, 0)
    assert zcomp.params.manager_error == zcomp.manager_error == "out of order"
    assert zcomp.statistics().managed_streams == 0
    await zcomp.serve_completions()
    zcomp.close()


def test_a_level_that_the_backend_refuses_is_an_error() -> None:
    with pytest.raises(InvalidValue):
        Zcomp(DEFLATE, algorithm_params=AlgorithmParams(level=10))
