"""Devices that decompress by command sets, and whose runs one thread completes."""

from pathlib import Path

import pytest
from scenarios import ClosedLoad, Operation, Streams, device, machine, scenario

from zramfs.errors import InvalidValue
from zramfs.simulate import load_scenario, run
from zramfs.simulate.result import Result
from zramfs.simulate.scenario import ManagedKind

PAGE_US = 4.0


def reads_per_s(cpus: int, command_sets: int, **settings: object) -> float:
    taker = device(
        "emerald_hill,submit_ns=0,interrupt_ns=0", decompress_page_us=PAGE_US, command_sets=command_sets, **settings
    )
    readers = ClosedLoad(name="readers", tasks=cpus, operation=Operation.READ)
    streams = Streams(device_reads=True)
    result = run(scenario(readers, machine=machine(cpus), devices=(taker,), streams=streams, duration_us=1e5))
    return result.read_pages_per_s


def test_each_command_set_decompresses_one_page_at_a_time() -> None:
    assert reads_per_s(4, 1) == pytest.approx(1e6 / PAGE_US, rel=0.01)
    assert reads_per_s(4, 2) == pytest.approx(2e6 / PAGE_US, rel=0.01)
    assert reads_per_s(4, 4) == pytest.approx(4e6 / PAGE_US, rel=0.01)


def test_a_cpu_has_one_command_set_however_many_there_are() -> None:
    assert reads_per_s(1, 8) == pytest.approx(1e6 / PAGE_US, rel=0.01)


def test_a_read_by_a_command_set_passes_the_writes_that_wait() -> None:
    flood = ClosedLoad(name="flood", depth=64, is_async=True)
    reader = ClosedLoad(name="reader", operation=Operation.READ, think_us=50.0)
    streams = Streams(device_reads=True, managed=ManagedKind.NONBLOCKING)

    def read_p50_us(command_sets: int) -> float:
        taker = device("emerald_hill", decompress_page_us=PAGE_US, command_sets=command_sets)
        made = scenario(flood, reader, machine=machine(2), devices=(taker,), streams=streams, duration_us=1e5)
        return run(made).latencies["reads"].percentiles_us[50]

    assert read_p50_us(2) < 10
    assert read_p50_us(0) > 100  # behind 64 pages of 5 us


def test_reads_go_to_the_cpu_while_the_device_is_away() -> None:
    taker = device("emerald_hill", decompress_page_us=PAGE_US, command_sets=2, offline_us=((0.0, 1e6),))
    reader = ClosedLoad(name="reader", operation=Operation.READ)
    result = run(scenario(reader, devices=(taker,), streams=Streams(device_reads=True), duration_us=1e4))
    assert result.pages.read_device == 0
    assert result.pages.read_software > 0


def completed(completion_cpu: int) -> Result:
    taker = device("emerald_hill,page_ns=1000", completion_cpu=completion_cpu)
    writers = ClosedLoad(name="writers", tasks=4, depth=8, is_async=True)
    host = machine(4, page_us=3.0)
    streams = Streams(managed=ManagedKind.NONBLOCKING)
    return run(scenario(writers, machine=host, devices=(taker,), streams=streams, duration_us=1e5))


def test_one_thread_that_completes_stores_no_more_than_one_cpu_can() -> None:
    by_interrupts, by_a_thread = completed(-1), completed(3)
    assert by_interrupts.pages.managed / 0.1 == pytest.approx(1e6, rel=0.01)  # as the device can
    assert by_a_thread.pages.managed / 0.1 == pytest.approx(1e6 / 3, rel=0.02)


@pytest.mark.parametrize(
    ("device_lines", "message"),
    [
        ("completion_cpu = 4", "devices.completion_cpu: the machine has CPUs 0 to 3"),
        ("command_sets = 2", "devices.command_sets: they decompress: give decompress_page_ns"),
        ("command_sets = -1", "devices.0.command_sets"),
        ("completion_cpu = 1\n[daemon]", "devices.completion_cpu: with a daemon its receiver completes"),
    ],
)
def test_what_a_device_cannot_have_is_refused(device_lines: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        "[machine]\ntable = 'cortex-a76'\ncpus = 4\n[streams]\nmanaged = 'nonblocking'\n[[loads]]\nkind = 'closed'\n"
        f"[[devices]]\nprofile = 'emerald_hill'\n{device_lines}\n"
    )
    with pytest.raises(InvalidValue, match=message):
        load_scenario(path)
