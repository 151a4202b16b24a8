"""What goes wrong with a modelled device: faults, a device that goes away, and callers that wait for it."""

import random
from collections.abc import Callable
from time import monotonic_ns

import pytest
import trio
from modelled import Gate, opened
from streams import completed
from trio.testing import wait_all_tasks_blocked

from zramfs.accel.by_hand import Caller, HeldStream, may_poll, must_wait, next_event_ns, take
from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import parse_accelerator
from zramfs.codec.lz4 import Lz4Codec

PAGE = 4096
NS_PER_US = 1000
SECOND_NS = 1_000_000_000

Pages = Callable[..., bytes]


# ---- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["poc", "ideal,polled_run_pages=0", "qpace,timeout_us=1000", "iaa,timeout_us=1000"])
@pytest.mark.parametrize("pages", [1, 2, 7, 40])
async def test_every_fault_is_redone_and_counted(profile: str, pages: int, compressible_pages: Pages) -> None:
    async with opened(f"{profile},fault_timeout=1/5,fault_bus_error=1/3,fault_corrupt=1/2,timeout_us=2000") as device:
        for seed in range(20):
            await device.write(compressible_pages(pages, seed))
        injected = device.counted("injected_timeout", "injected_bus_error", "injected_corrupt")
        assert injected == device.counted("errors_timeout", "errors_bus_error", "errors_corrupt")
        assert device.counted("completion_errors", "software_redone") == (sum(injected),) * 2
        assert injected[0] == 20 * pages // 5


async def test_timeout_is_found_after_timeout_us_and_not_before(compressible_pages: Pages) -> None:
    async with opened("poc,fault_timeout=1/1,timeout_us=20000") as device:
        began_ns = monotonic_ns()
        await device.write(compressible_pages(1))
        assert monotonic_ns() - began_ns >= 20_000 * NS_PER_US
        assert device.counted("errors_timeout") == (1,)


async def test_only_the_lost_page_of_a_run_is_redone(compressible_pages: Pages) -> None:
    async with opened("poc,fault_timeout=1/6,timeout_us=1000") as device:
        await device.write(compressible_pages(10))
        assert device.counted("errors_timeout", "software_redone") == (1, 1)


async def test_run_beside_a_lost_one_does_not_wait_for_it(compressible_pages: Pages) -> None:
    async with opened("poc,fault_timeout=1/3,timeout_us=60000000") as device:
        lost = device.get()
        lost.submit(compressible_pages(3), 0, 3)
        await device.write(compressible_pages(2))
        assert not lost.is_complete
        device.set(timeout_us=1000)
        await completed(lost)
        lost.give()


async def test_stall_shorter_than_the_timeout_costs_time_and_nothing_else(compressible_pages: Pages) -> None:
    async with opened("poc,stall_us=30000,fault_stall=1/4") as device:
        began_ns = monotonic_ns()
        await device.write(compressible_pages(4))
        assert monotonic_ns() - began_ns >= 30_000 * NS_PER_US
        assert device.counted("injected_stall", "completion_errors") == (1, 0)


async def test_stall_longer_than_the_timeout_times_every_page_out(compressible_pages: Pages) -> None:
    async with opened("poc,stall_us=60000000,fault_stall=1/1,timeout_us=1000") as device:
        await device.write(compressible_pages(5))
        await device.write(compressible_pages(1))
        assert device.counted("injected_stall", "errors_timeout", "software_redone") == (2, 6, 6)


async def test_stall_holds_up_what_was_submitted_before(compressible_pages: Pages) -> None:
    async with opened("poc,page_ns=20000000,timeout_us=60000000,stall_us=30000") as device:
        stream = device.get()
        began_ns = monotonic_ns()
        stream.submit(compressible_pages(1), 0, 1)
        device.driver.queue.stall()
        await completed(stream)
        assert monotonic_ns() - began_ns >= 50_000 * NS_PER_US
        stream.give()


async def test_work_that_outlasts_the_timeout_is_waited_for_and_redone() -> None:
    """An engine still reads the pages: nobody may have them back before it is done. Nothing polls meanwhile."""
    gate = Gate()
    async with opened("poc,page_ns=60000000,timeout_us=1000", gate.create_context) as device:
        stream = device.get()
        stream.submit(random.Random(1).randbytes(3 * PAGE), 0, 3)
        assert gate.reached.wait(20)
        while next_event_ns(device.driver) < monotonic_ns() + SECOND_NS // 100:
            await trio.lowlevel.checkpoint()
        assert not stream.is_complete
        gate.opened.set()
        await completed(stream)
        assert device.counted("errors_timeout") == (3,)
        stream.give()


async def test_corrupt_output_is_found_by_verify_compress(compressible_pages: Pages) -> None:
    noise = random.Random(3).randbytes(PAGE)
    async with opened("poc,fault_corrupt=1/1") as device:
        await device.write(compressible_pages(3) + noise + bytes(PAGE) + b"ABCDEFGH" * 512)
        assert device.counted("injected_corrupt", "errors_corrupt", "software_redone") == (6, 6, 6)


@pytest.mark.parametrize("fate", ["text", "noise", "zeros"])
async def test_corrupt_output_that_is_not_verified_is_wrong(fate: str, compressible_pages: Pages) -> None:
    page = {"text": compressible_pages(1), "noise": random.Random(3).randbytes(PAGE), "zeros": bytes(PAGE)}[fate]
    async with opened("poc,fault_corrupt=1/1,verify_compress=0") as device:
        stream = await device.store(page)
        assert stream.decompressed(Lz4Codec()) != page
        stream.give()
        assert device.counted("injected_corrupt", "completion_errors") == (1, 0)


async def test_corrupt_output_is_found_though_its_rate_is_0_by_then() -> None:
    gate = Gate()
    async with opened("poc,fault_corrupt=1/1", gate.create_context) as device:
        stream = device.get()
        stream.submit(random.Random(1).randbytes(4 * PAGE), 0, 4)
        assert gate.reached.wait(20)
        device.set(fault_corrupt=0)
        gate.opened.set()
        await completed(stream)
        assert device.counted("injected_corrupt", "errors_corrupt") == (4, 4)
        stream.give()


async def test_rates_set_back_to_0_leave_a_sound_device(compressible_pages: Pages) -> None:
    async with opened("ideal,timeout_us=1000") as device:
        device.set(fault_timeout="1/2", fault_bus_error="0.5", fault_corrupt="1/3", fault_stall="1/7", stall_us=1)
        for seed in range(10):
            await device.write(compressible_pages(8, seed))
        device.set(fault_timeout=0, fault_bus_error=0, fault_corrupt=0, fault_stall=0)
        before = device.counted("completion_errors")
        for seed in range(10):
            assert may_poll(device.driver, 8)
            await device.write(compressible_pages(8, seed))
        assert device.counted("completion_errors") == before > (0,)


# ---- offline ------------------------------------------------------------------------------------------------------


async def test_nobody_gets_a_stream_of_a_device_that_is_offline(compressible_pages: Pages) -> None:
    async with opened("poc,when_full=wait") as device:
        device.set(state="offline")
        assert take(device.driver) is None
        assert not must_wait(device.driver)
        device.set(state="online")
        await device.write(compressible_pages(3))
        assert device.counted("completion_errors", "queue_full") == (0, 0)


@pytest.mark.parametrize("profile", ["poc", "qpace,page_ns=1000000000,timeout_us=60000000"])
@pytest.mark.parametrize("pages", [1, 20])
async def test_what_is_in_flight_when_the_device_goes_is_redone(
    profile: str, pages: int, compressible_pages: Pages
) -> None:
    source = compressible_pages(pages)
    async with opened(f"{profile},fault_timeout=1/1,timeout_us=60000000") as device:
        stream = device.get()
        stream.submit(source, 0, pages)
        device.set(state="offline")
        await completed(stream)
        assert stream.decompressed(Lz4Codec()) == source
        stream.give()
        assert device.counted("errors_offline", "software_redone") == (pages, pages)


async def test_device_that_comes_back_is_idle(compressible_pages: Pages) -> None:
    async with opened("poc,page_ns=1000000000,timeout_us=60000000") as device:
        stream = device.get()
        stream.submit(compressible_pages(50), 0, 50)
        device.set(state="offline")
        await completed(stream)
        stream.give()
        device.set(state="online", page_ns=1000)
        await device.write(compressible_pages(3))
        assert device.driver.queue.watch.model.percentile_us(99) < SECOND_NS // NS_PER_US


async def test_run_that_an_engine_works_on_when_the_device_goes_ends_with_its_work() -> None:
    gate = Gate()
    async with opened("poc,engines=1", gate.create_context) as device:
        stream = device.get()
        stream.submit(random.Random(1).randbytes(40 * PAGE), 0, 40)
        assert gate.reached.wait(20)
        device.set(state="offline")
        device.set(state="online")
        assert not stream.is_complete
        gate.opened.set()
        await completed(stream)
        assert device.counted("errors_offline") == (40,)
        stream.give()


# ---- waiting ------------------------------------------------------------------------------------------------------


async def test_callers_that_wait_are_served_in_their_order(compressible_pages: Pages) -> None:
    served: list[int] = []
    taken: list[HeldStream] = []
    async with opened("poc,queue_depth=1,when_full=wait,page_ns=1000") as device:

        def ask(caller: int) -> None:
            stream = device.get()
            served.append(caller)
            stream.submit(compressible_pages(1), 0, 1)
            taken.append(stream)

        ask(0)
        assert take(device.driver) is None
        assert must_wait(device.driver)
        assert not may_poll(device.driver, 1)
        for caller in range(1, 5):
            assert Caller(device.driver, lambda caller=caller: ask(caller)).wait()
        while taken:
            stream = taken.pop()
            await completed(stream)
            stream.give()
        assert served == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("key", "value"), [("state", "offline"), ("when_full", "fallback")])
async def test_callers_that_wait_are_woken_when_there_is_nothing_to_wait_for(key: str, value: str) -> None:
    gate = Gate()
    woken: list[int] = []
    async with opened("poc,queue_depth=1,when_full=wait", gate.create_context) as device:
        stream = device.get()
        stream.submit(random.Random(1).randbytes(PAGE), 0, 1)
        assert gate.reached.wait(20)
        for caller in range(3):
            assert Caller(device.driver, lambda caller=caller: woken.append(caller)).wait()
        assert woken == []
        device.set(**{key: value})
        assert woken == [0, 1, 2]
        assert not must_wait(device.driver)
        gate.opened.set()
        await completed(stream)
        stream.give()


async def test_callers_that_wait_are_woken_when_serving_ends() -> None:
    gate = Gate()
    woken: list[int] = []
    profile = parse_accelerator("poc,queue_depth=1,when_full=wait")
    assert profile is not None
    driver = EmulatedAccelerator(profile).attach(gate.create_context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.serve_completions)
        await wait_all_tasks_blocked()
        stream = take(driver)
        assert stream is not None
        stream.submit(random.Random(1).randbytes(PAGE), 0, 1)
        assert Caller(driver, lambda: woken.append(1)).wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
            assert woken == [1]
            assert take(driver) is None
            gate.opened.set()
    assert stream.is_complete
    stream.give()
    driver.close()
