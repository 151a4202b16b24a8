"""A task that swaps: it reads page after page, and makes room for them by batches that it waits for."""

from pathlib import Path

import pytest
from scenarios import Streams, machine, scenario

from zramfs.errors import InvalidValue
from zramfs.simulate import load_scenario, run
from zramfs.simulate.flows import flows_of
from zramfs.simulate.load_kinds import ClosedLoad, Load, SwapLoad
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import Daemon, ManagedKind, Scheduler

STORM = SwapLoad(name="storm", batch=2, write_bytes=2 * 4096, read_bytes=4096)


def simulated(load: Load, *, cpus: int = 1, daemon: Daemon | None = None, decompress_us: float = 3.0) -> Result:
    return run(
        scenario(
            load,
            machine=machine(cpus, 10.0, decompress_us),
            streams=Streams(managed=ManagedKind.NONBLOCKING),
            scheduler=Scheduler(migrates=True),
            daemon=daemon,
            duration_us=104_000.0,
        )
    )


def test_as_much_is_read_as_is_written() -> None:
    pages = simulated(STORM).pages
    # In 104 ms, 2,000 times: four reads of 3 us each, and two writes of two pages of 10 us each.
    assert (pages.read_software, pages.percpu) == pytest.approx((8_000, 8_000), abs=4)


def test_time_of_its_own_is_spent_before_each_read_and_no_write() -> None:
    pages = simulated(SwapLoad(name="storm", batch=2, write_bytes=2 * 4096, read_bytes=4096, make_us=13.0)).pages
    assert (pages.read_software, pages.percpu) == pytest.approx((8_000 * 52 / 104, 8_000 * 52 / 104), abs=4)


def test_latency_of_a_read_begins_when_it_is_made_and_no_write_delays_it() -> None:
    result = simulated(SwapLoad(name="storm", batch=32, read_bytes=4096, make_us=50.0))
    assert result.latencies["reads"].max_us == pytest.approx(3.0)


def test_writes_of_a_batch_are_in_flight_together() -> None:
    result = simulated(SwapLoad(name="storm", batch=4, read_bytes=4 * 4096))
    # One CPU: the first takes 10 us, the last all four.
    assert result.latencies["async_writes"].max_us == pytest.approx(40.0)
    assert result.latencies["async_writes"].mean_us == pytest.approx(25.0, rel=0.01)


def test_reads_that_do_not_divide_a_batch_are_one_more() -> None:
    (flow,) = flows_of(scenario(SwapLoad(name="storm", batch=3, write_bytes=4096, read_bytes=2 * 4096)))
    assert (flow.depth, flow.reads_first) == (3, 2)


def test_a_daemon_serves_it_and_its_crew_helps_with_large_writes() -> None:
    storm = SwapLoad(name="storm", batch=8, write_bytes=64 * 4096, read_bytes=8 * 4096)
    alone, helped = (simulated(storm, cpus=2, daemon=Daemon(crew=crew)) for crew in (0, 1))
    for result in (alone, helped):
        assert result.pages.read_software == pytest.approx(result.pages.percpu, abs=2 * 8 * 64)
    assert helped.pages.percpu > 1.2 * alone.pages.percpu


def test_it_begins_after_another_load() -> None:
    first = ClosedLoad(name="first", requests=2_600)
    result = run(
        scenario(
            first,
            SwapLoad(name="storm", batch=2, write_bytes=2 * 4096, read_bytes=4096, after="first"),
            duration_us=52_000.0,
        )
    )
    assert [load.ended for load in result.loads] == [2_600, pytest.approx(3_000, abs=3)]


BAD = """
duration_ms = 1
machine = { table = "xeon-vm" }
[[loads]]
kind = "swap"
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("batch = 0", "loads.0.batch: it must be 1 to 4,096, not 0"),
        ('write_size = "5K"', "loads.0.write_size: it must be a multiple of 4096 bytes"),
        ("make_us = -1", "loads.0.make_us: it must be at least 0"),
        ("faulters = 1", "loads.0.faulters: unknown key"),
        ("tasks = 60000\nbatch = 4096", "loads.0: 245,760,000 requests in flight are too many"),
    ],
)
def test_a_load_that_cannot_be_is_said_in_one_line(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(BAD + line)
    with pytest.raises(InvalidValue, match=message) as caught:
        load_scenario(path)
    assert "\n" not in str(caught.value)
