"""Several threads at once: every run ends once, gives its pages back and is counted, whatever the device does."""

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from zramfs.accel.driver import AcceleratorDriver, EmulatedAccelerator
from zramfs.accel.exercise import exercise
from zramfs.accel.profile import parse_accelerator
from zramfs.codec.lz4 import Lz4Codec

Pages = Callable[..., bytes]

FAULTS = "fault_timeout=1/50,fault_bus_error=1/30,fault_corrupt=1/20,fault_stall=1/500,stall_us=500,timeout_us=1500"

COUNTED = ("wrong_pages", "wrong_ends")


def attach(text: str) -> tuple[EmulatedAccelerator, AcceleratorDriver]:
    profile = parse_accelerator(text)
    assert profile is not None
    accelerator = EmulatedAccelerator(profile)
    return accelerator, accelerator.attach(Lz4Codec)


def source_of(compressible_pages: Pages) -> bytes:
    return bytes(compressible_pages(40)) + random.Random(5).randbytes(20 * 4096) + bytes(4 * 4096)


def start(
    pool: ThreadPoolExecutor, driver: AcceleratorDriver, source: bytes, threads: int, rounds: int
) -> list[Future[Mapping[str, int]]]:
    return [
        pool.submit(exercise, driver, source, Lz4Codec(), rounds=rounds, most_pages=20, depth=6, seed=seed)
        for seed in range(threads)
    ]


def check(driver: AcceleratorDriver, counts: list[Mapping[str, int]]) -> Mapping[str, float]:
    """What must hold whatever happened; the driver's statistics."""
    statistics = driver.statistics()
    assert [count[name] for count in counts for name in COUNTED] == [0] * 2 * len(counts)
    assert statistics["polled_pages"] == sum(count["polled_pages"] for count in counts)
    assert statistics["submitted_pages"] == sum(count["polled_pages"] + count["submitted_pages"] for count in counts)
    assert statistics["completion_errors"] == statistics["software_redone"]
    assert statistics["inflight"] == 0
    assert driver.is_idle
    return statistics


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize(
    "profile",
    [
        "ideal",
        "ideal,polled_run_pages=0,queue_depth=1024",
        "ideal,polled_run_pages=4,queue_depth=12",
        f"poc,queue_depth=1024,{FAULTS}",
        f"qpace,queue_depth=1024,{FAULTS}",
        "ideal,page_ns=2000,engines=4,fault_bus_error=0.05,fault_corrupt=1/9",
    ],
)
def test_every_run_ends_once_and_every_fault_is_counted(profile: str, threads: int, compressible_pages: Pages) -> None:
    _, driver = attach(profile)
    with ThreadPoolExecutor() as pool:
        running = start(pool, driver, source_of(compressible_pages), threads, 300)
        statistics = check(driver, [each.result() for each in running])
    assert statistics["submitted_pages"] > 0
    for kind in ("timeout", "bus_error", "corrupt"):
        injected, found = statistics[f"injected_{kind}"], statistics[f"errors_{kind}"]
        if kind == "timeout":  # and so do other pages, when the device stands still for long enough
            assert injected <= found
        else:
            assert injected == found
    driver.queue.close()


@pytest.mark.parametrize("profile", ["ideal", "poc", "qpace", "ideal,page_ns=1000"])
def test_nobody_is_refused_who_waits(profile: str, compressible_pages: Pages) -> None:
    _, driver = attach(f"{profile},queue_depth=7,when_full=wait")
    with ThreadPoolExecutor() as pool:
        running = start(pool, driver, source_of(compressible_pages), 4, 200)
        counts = [each.result() for each in running]
    check(driver, counts)
    assert sum(count["waits"] for count in counts) > 0
    assert sum(count["refused"] for count in counts) == 0
    driver.queue.close()


@pytest.mark.parametrize("when_full", ["fallback", "wait"])
@pytest.mark.parametrize("profile", ["ideal", "poc", "qpace", f"iaa,{FAULTS}"])
def test_device_that_goes_and_comes_back_loses_nothing(profile: str, when_full: str, compressible_pages: Pages) -> None:
    accelerator, driver = attach(f"{profile},queue_depth=16,when_full={when_full}")
    with ThreadPoolExecutor() as pool:
        running = start(pool, driver, source_of(compressible_pages), 3, 400)
        times = 0
        while times <= 2 or not all(each.done() for each in running):
            if all(each.done() for each in running):  # before anything could go away
                running += start(pool, driver, source_of(compressible_pages), 3, 400)
            accelerator.set("state", ("offline", "online")[times % 2])
            times += 1
        accelerator.set("state", "online")
        check(driver, [each.result() for each in running])
    driver.queue.close()


def test_settings_may_change_while_runs_are_submitted(compressible_pages: Pages) -> None:
    accelerator, driver = attach("ideal,queue_depth=64,timeout_us=1000")
    chance = random.Random(4)
    values = {
        "page_ns": ["0", "0", "1000", "20000"],
        "polled_run_pages": ["0", "1", "32"],
        "fault_bus_error": ["0", "1/7", "0.1"],
        "fault_corrupt": ["0", "1/3"],
        "fault_timeout": ["0", "1/40"],
        "when_full": ["wait", "fallback"],
        "coalesce_runs": ["1", "3"],
    }
    with ThreadPoolExecutor() as pool:
        running = start(pool, driver, source_of(compressible_pages), 3, 400)
        while not all(each.done() for each in running):
            key = chance.choice(list(values))
            accelerator.set(key, chance.choice(values[key]))
            driver.statistics()
        check(driver, [each.result() for each in running])
    driver.queue.close()


@pytest.mark.parametrize("profile", ["poc", "qpace,when_full=wait,queue_depth=8"])
async def test_serving_that_ends_leaves_no_run_behind(profile: str, compressible_pages: Pages) -> None:
    _, driver = attach(profile)
    source = source_of(compressible_pages)
    with ThreadPoolExecutor() as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.serve_completions)
            await wait_all_tasks_blocked()
            running = start(pool, driver, source, 3, 2000)
            while driver.statistics()["submitted_pages"] < 500:  # noqa: ASYNC110 - nothing signals that
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert driver.is_idle
        counts = [await trio.to_thread.run_sync(each.result) for each in running]
    check(driver, counts)
    assert sum(count["refused"] for count in counts) > 0
    driver.close()
