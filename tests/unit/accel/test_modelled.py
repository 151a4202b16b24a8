"""The device with time and faults, through its driver: what is told, when at the earliest, and what is redone."""

import random
import threading
from collections.abc import Callable
from time import monotonic_ns

import pytest
import trio
from modelled import Gate, opened
from streams import completed
from trio.testing import wait_all_tasks_blocked

from zramfs.accel.by_hand import may_poll, take
from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.codec.lz4 import Lz4Codec
from zramfs.errors import AcceleratorUnavailable

PAGE = 4096
NS_PER_US = 1000

Pages = Callable[..., bytes]


# ---- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engines", [0, 1, 8])
@pytest.mark.parametrize("pages", [1, 2, 3, 16])
async def test_run_is_not_told_of_before_its_time(engines: int, pages: int, compressible_pages: Pages) -> None:
    async with opened(f"ideal,polled_run_pages=0,page_ns=500000,interrupt_ns=300000,engines={engines}") as device:
        began_ns = monotonic_ns()
        await device.write(compressible_pages(pages))
        rounds = -(-pages // max(1, engines))
        assert monotonic_ns() - began_ns >= rounds * 500_000 + 300_000
        assert device.counted("completion_errors", "inflight") == (0, 0)


async def test_runs_are_told_of_in_the_order_of_their_times_not_of_their_work(compressible_pages: Pages) -> None:
    """The first is two pages of the only engine; its work is done at once, at its submission, like the second's."""
    told: list[str] = []
    async with opened("ideal,polled_run_pages=0,page_ns=1000000,engines=1") as device:
        first, second = device.get(), device.get()
        first.submit(compressible_pages(2), 0, 2)
        second.submit(compressible_pages(1), 0, 1)
        second.when_complete(lambda: told.append("second"))
        first.when_complete(lambda: told.append("first"))
        while len(told) < 2:
            await trio.lowlevel.checkpoint()
        assert told == ["first", "second"]
        first.give()
        second.give()


async def test_run_whose_work_outlasts_its_time_is_counted_as_late() -> None:
    gate = Gate()
    async with opened("ideal,polled_run_pages=0,page_ns=1000,engines=1", gate.create_context) as device:
        stream = device.get()
        stream.submit(random.Random(1).randbytes(8 * PAGE), 0, 8)
        assert gate.reached.wait(20)
        await trio.sleep(0.001)
        assert not stream.is_complete
        gate.opened.set()
        await completed(stream)
        stream.give()
        assert device.counted("late_completions", "late_pages") == (1, 8)
        assert device.counted("late_max_us") > (900,)


async def test_device_without_time_is_never_late(compressible_pages: Pages) -> None:
    async with opened("poc,fault_bus_error=1/3") as device:
        for _ in range(20):
            await device.write(compressible_pages(9))
        assert device.counted("late_completions") == (0,)


async def test_model_of_a_lone_run_is_the_timelines(compressible_pages: Pages) -> None:
    async with opened("ideal,polled_run_pages=0,submit_ns=1000,page_ns=200000,interrupt_ns=50000,engines=1") as device:
        for _ in range(5):
            await device.write(compressible_pages(2))
        assert device.counted("model_p50_us", "model_p99_us") == (451.0, 451.0)
        (observed_us,) = device.counted("observed_p50_us")
        assert observed_us >= 451.0


async def test_coalescing_tells_of_several_runs_by_one_interrupt(compressible_pages: Pages) -> None:
    told_us = []
    async with opened("poc,engines=1,page_ns=1000,coalesce_runs=3,coalesce_us=900000,timeout_us=9000000") as device:
        streams = [device.get() for _ in range(3)]
        for stream in streams:
            stream.submit(compressible_pages(1), 0, 1)
            stream.when_complete(lambda: told_us.append(monotonic_ns() // NS_PER_US))
        await wait_all_tasks_blocked()
        while len(told_us) < 3:
            await trio.lowlevel.checkpoint()
        for stream in streams:
            stream.give()
        assert device.driver.queue.watch.model.percentile_us(99) < 900_000


async def test_time_that_is_set_to_0_lets_runs_straight_through_again(compressible_pages: Pages) -> None:
    async with opened("ideal,page_ns=100000") as device:
        await device.write(compressible_pages(2))
        device.set(page_ns=0)
        assert not device.driver.queue.is_modelled
        assert may_poll(device.driver, 32)
        await device.write(compressible_pages(20))


async def test_time_that_changes_while_runs_are_in_flight_lets_them_land(compressible_pages: Pages) -> None:
    async with opened("ideal,polled_run_pages=0") as device:
        streams = []
        for page_ns in (0, 200_000, 0, 1000, 0):
            device.set(page_ns=page_ns)
            stream = device.get()
            assert stream.submit(compressible_pages(5), 0, 5) == 5
            streams.append(stream)
        for stream in streams:
            await completed(stream)
            stream.give()
        assert not device.driver.queue.is_modelled


# ---- polling ------------------------------------------------------------------------------------------------------


async def test_polled_run_is_complete_at_its_time(compressible_pages: Pages) -> None:
    source = compressible_pages(4)
    async with opened("ideal,polled_run_pages=8,page_ns=20000,engines=1") as device:
        stream = device.get()
        assert may_poll(device.driver, 4)
        began_ns = monotonic_ns()
        assert stream.compress(source, 0, 4) == 4
        assert monotonic_ns() - began_ns >= 80_000
        assert stream.is_complete
        stream.give()
        assert device.counted("polled_pages", "model_p50_us") == (4, 80.0)


async def test_run_is_polled_for_only_while_its_end_is_near(compressible_pages: Pages) -> None:
    async with opened("ideal,polled_run_pages=64,page_ns=10000,engines=1") as device:
        assert may_poll(device.driver, 20)
        assert not may_poll(device.driver, 21)
        stream = device.get()
        source = compressible_pages(60)
        device.set(page_ns=100_000_000)
        stream.submit(source, 0, 60)
        device.set(page_ns=10_000)
        assert not may_poll(device.driver, 1)  # the engine is busy for 6 s
        device.set(state="offline")
        device.set(state="online")
        await completed(stream)
        stream.give()
        assert may_poll(device.driver, 20)


@pytest.mark.parametrize(("kind", "can_poll"), [("timeout", False), ("stall", False), ("bus_error", True)])
async def test_run_that_may_hang_is_not_polled_for(kind: str, *, can_poll: bool) -> None:
    async with opened(f"ideal,fault_{kind}=1/1000") as device:
        assert may_poll(device.driver, 1) is can_poll
        device.set(**{f"fault_{kind}": 0})
        assert may_poll(device.driver, 1)


async def test_polled_run_whose_descriptors_fail_is_redone(compressible_pages: Pages) -> None:
    source = compressible_pages(6)
    async with opened("ideal,fault_bus_error=1/2,fault_corrupt=1/3") as device:
        stream = device.get()
        assert stream.compress(source, 0, 6) == 6
        assert stream.decompressed(Lz4Codec()) == source
        stream.give()
        assert device.counted("errors_bus_error", "errors_corrupt", "software_redone") == (3, 1, 4)


# ---- life ---------------------------------------------------------------------------------------------------------


async def test_run_longer_than_the_queue_is_taken_in_part(compressible_pages: Pages) -> None:
    async with opened("qpace,queue_depth=4") as device:
        stream = device.get()
        assert stream.submit(compressible_pages(9), 0, 9) == 4
        assert take(device.driver) is None
        await completed(stream)
        stream.give()


async def test_settings_of_a_driver_that_is_closed_may_change(compressible_pages: Pages) -> None:
    async with opened("qpace") as device:
        await device.write(compressible_pages(3))
    device.set(page_ns=5, fault_timeout="1/2", state="offline", when_full="wait")
    device.set(state="online")
    assert device.accelerator.settings()["page_ns"] == "5"


def test_timer_that_is_refused_leaves_no_engines_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no timer")

    before = threading.active_count()
    profile = parse_accelerator("ideal,engines=3")
    assert profile is not None
    monkeypatch.setattr("zramfs.accel.driver.ModelledQueue", refuse)
    with pytest.raises(AcceleratorUnavailable, match="no timer"):
        EmulatedAccelerator(profile).attach(Lz4Codec)
    assert threading.active_count() == before


# ---- what it costs the host ---------------------------------------------------------------------------------------


async def test_work_of_polled_runs_is_counted_as_the_devices(compressible_pages: Pages) -> None:
    async with opened("ideal") as device:
        for seed, pages in enumerate([1] * 40 + [8] * 40):
            stream = device.get()
            assert stream.compress(compressible_pages(pages, seed), 0, pages) == pages
            stream.give()
        (work_us,) = device.counted("inline_work_us")
        assert 40 * 9 / 2 < work_us < 40 * 9 * 1000  # LZ4 takes 2 to 10 µs a page, and more under a sanitizer


async def test_work_of_a_polled_run_is_the_hosts_wait_as_far_as_the_model_goes() -> None:
    """One of several: a thread that loses its CPU during the work, for longer than the model takes, is late."""
    page = bytes(PAGE)  # which takes LZ4 the least time, also under a sanitizer
    seen = []
    for _ in range(20):
        async with opened("ideal,polled_run_pages=8,page_ns=190000,engines=1") as device:
            stream = device.get()
            assert stream.compress(page, 0, 1) == 1
            stream.give()
            work_us, late, runs = device.counted("inline_work_us", "late_completions", "modelled_runs")
        assert runs == 1
        seen.append((work_us, late))
    assert (0, 0) in seen, "no run was done within the model's time"


async def test_runs_are_counted_as_modelled_where_a_device_takes_time(compressible_pages: Pages) -> None:
    async with opened("poc,fault_bus_error=1/3") as device:
        await device.write(compressible_pages(9))
        assert device.counted("modelled_runs") == (0,)
        device.set(page_ns=1000)
        for pages in (1, 2, 9):
            await device.write(compressible_pages(pages))
        assert device.counted("modelled_runs", "modelled_pages") == (3, 12)
        assert device.counted("inline_work_us") > (0,)


async def test_percentiles_of_a_window_are_exact(compressible_pages: Pages) -> None:
    async with opened("ideal,polled_run_pages=0,engines=1") as device:
        window = device.driver.queue.watch.model
        assert window.percentiles_us(50, 99) == [0.0, 0.0]
        for page_ns in (400_000, 100_000, 300_000, 200_000):
            device.set(page_ns=page_ns)
            await device.write(compressible_pages(1))
        assert window.percentiles_us(0, 25, 50, 99) == [100.0, 200.0, 300.0, 400.0]


async def test_device_of_few_registers_is_polled_for_long_requests_as_well(compressible_pages: Pages) -> None:
    async with opened("qpace_urgent") as device:
        assert may_poll(device.driver, 256)
        stream = device.get()
        assert stream.compress(compressible_pages(20), 0, 20) == 8
        stream.give()
        assert device.counted("polled_pages") == (8,)
