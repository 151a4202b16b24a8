"""What is measured of this machine is a table that scenarios can name."""

import errno
import os
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path

import pytest

from zramfs.errors import InvalidValue
from zramfs.simulate.calibrate import (
    AlgorithmCosts,
    SwitchCosts,
    as_mounted,
    format_machine,
    measure_algorithm,
    measure_switches,
)
from zramfs.simulate.machines import parse_machine
from zramfs.simulate.mounted import MountedCosts, costs_of, measure_mount
from zramfs.simulate.neighbours import busy_neighbours
from zramfs.simulate.switches import measure_loop_us

SWITCHES = SwitchCosts(wake=4.0, ipi=3.0, timer=2.0)


def test_what_is_measured_takes_time() -> None:
    costs = measure_algorithm("lz4")
    assert 0.1 < costs.compress < 1000
    assert 0.05 < costs.decompress < 1000
    assert -10 < costs.page < 100
    assert measure_loop_us() > 0.1
    switches = measure_switches()
    assert switches.wake > 0.1
    assert switches.timer > 0.1
    assert switches.ipi == 0 if len(os.sched_getaffinity(0)) == 1 else switches.ipi > 0.1


def test_the_table_is_a_machine_of_measured_numbers() -> None:
    measured = {"zstd": AlgorithmCosts(9.0, 1.5, 0.4, 0.9), "lz4": AlgorithmCosts(1.25, 0.75, 0.5, 0.875)}
    machine = parse_machine("here", format_machine(measured, SWITCHES))
    (group,) = machine.groups
    assert group.count == machine.cpus > 0
    assert {name: cost.us for name, cost in group.compress.items()} == {"zstd": 9.0, "lz4": 1.25}
    assert {name: cost.us for name, cost in group.decompress.items()} == {"zstd": 1.5, "lz4": 0.75}
    assert (machine.costs.request.us, machine.costs.page.us, machine.costs.wake.us) == (0.5, 0.875, 4.0)
    assert (machine.costs.ipi.us, machine.costs.timer.us, machine.costs.fetch.us) == (3.0, 2.0, 0.0)
    assert machine.contention is None
    bases = {cost.basis for cost in (*group.compress.values(), machine.costs.request, machine.costs.wake)}
    assert bases == {"measured"}
    assert machine.costs.completion.basis == "assumed"


def test_the_table_of_a_mounted_disk_has_its_further_costs_and_none_below_0() -> None:
    costs = AlgorithmCosts(compress=1.25, decompress=0.75, request=-0.5, page=0.875, copy=1.5, pin=0.25, cold=9.0)
    found = parse_machine("here", format_machine({"lz4": costs}, SWITCHES, loop_us=50.0)).costs
    assert (found.request.us, found.copy.us, found.pin.us, found.cold.us, found.loop.us) == (0.0, 1.5, 0.25, 9.0, 50.0)


OWN = AlgorithmCosts(compress=2.5, decompress=0.5, request=0.25, page=0.75)
MOUNTED = MountedCosts(
    caller=2.0,
    write_one=20.0,
    write_page=2.25,
    read_page=2.0,
    halt=8.0,
    near=9.0,
    flood_page=5.0,
    compress=2.0,
    pin=0.25,
    cold=6.0,
)


def test_a_callers_costs_are_what_a_request_takes_beside_compressing() -> None:
    assert as_mounted(OWN, MOUNTED, wake_us=0.5) == AlgorithmCosts(
        compress=2.0,
        decompress=2.0,
        request=2.0 - 0.5,
        page=0.75,
        receive=9.0 - 2.0 - 2.25,
        copy=5.0 - 2.0 - 0.75 - 0.25,
        pin=0.25,
        cold=6.0,
        halt=8.0,
        apart=3.0,
    )


def test_a_state_in_which_every_cpu_halts_is_left_out_where_most_windows_are_not_in_it() -> None:
    kinds = ("none", "none, caller", "one", "many", "read", "read many", "near", "near, caller", "bound", "awake")
    usual = dict.fromkeys((*kinds, "large, caller", "flood page", "compress", "cold", "cold, none"), 1.0)
    usual |= {"one": 20.0, "many": 66.0, "read": 18.0, "read many": 46.0, "bound": 22.0, "awake": 21.0}
    halting = usual | dict.fromkeys(("one", "many", "read", "read many", "bound", "awake"), 340.0)
    for slow in range(5):
        costs = costs_of([usual] * (9 - slow) + [halting] * slow)
        assert (costs.write_one, costs.write_page, costs.read_page, costs.halt) == (19.0, 2.0, 2.0, 1.0)


def test_what_is_left_of_a_cost_is_not_less_than_nothing() -> None:
    left = as_mounted(OWN, MOUNTED._replace(compress=6.0), wake_us=40.0)._asdict()
    assert left.items() >= {"copy": 0.0, "receive": 0.0, "request": 0.0}.items()


def test_neighbours_work_on_their_cpus_until_they_are_not_needed() -> None:
    given = sorted(os.sched_getaffinity(0))
    with busy_neighbours(given):
        neighbours = active_children()
        cpus = [os.sched_getaffinity(each.pid or 0) for each in neighbours]
    assert sorted(map(min, cpus)) == given[:64]
    assert all(len(each) == 1 for each in cpus)
    assert not any(each.is_alive() for each in neighbours)


def imitation(folder: Path, mm_stat: str, size_bytes: int) -> Path:
    (folder / "sys/block/zram0").mkdir(parents=True)
    (folder / "sys/block/zram0/mm_stat").write_text(mm_stat)
    (folder / "sys/fs/zramfs").mkdir(parents=True)
    (folder / "sys/fs/zramfs/pid").write_text(f"{os.getpid()}\n")
    (folder / "zram0").write_bytes(b"")
    os.truncate(folder / "zram0", size_bytes)
    return folder


@pytest.mark.parametrize(
    ("mm_stat", "size_bytes", "message"),
    [
        ("    4096 63 0 0 0 0 0 0 0", 64 << 20, "has data, which would be overwritten: give a fresh mount"),
        ("       0  0 0 0 0 0 0 0 0", 4096, "is too small: give it 4M or more"),
        ("", 64 << 20, "no zramfs is mounted there"),
    ],
)
def test_a_mount_that_must_not_or_cannot_be_measured_is_left_alone(
    mm_stat: str, size_bytes: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidValue, match=message):
        measure_mount(imitation(tmp_path, mm_stat, size_bytes))
    assert (tmp_path / "zram0").read_bytes().strip(b"\0") == b""


def test_a_folder_without_a_mount_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="no zramfs is mounted there"):
        measure_mount(tmp_path)


def test_requests_of_a_file_are_timed(tmp_path: Path) -> None:
    costs = measure_mount(imitation(tmp_path, "0 0 0", 8 << 20))
    assert costs.write_one > 0
    assert costs.caller > 0
    assert costs.flood_page > 0
    assert 0.1 < costs.compress < 1000


def test_an_error_of_a_request_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> int:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(os, "pwrite", end)
    with pytest.raises(OSError, match="not connected") as caught:
        measure_mount(imitation(tmp_path, "0 0 0", 8 << 20))
    assert caught.value.filename == str(tmp_path / "zram0")


_PARENT_OF_NEIGHBOURS = """
import os, time
from zramfs.simulate.neighbours import busy_neighbours
with busy_neighbours(sorted(os.sched_getaffinity(0))[:1]):
    print(1, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_neighbours_end_with_their_parent_and_say_nothing(signal_number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT_OF_NEIGHBOURS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert parent.stdout.readline() == b"1\n"
        (os.killpg if signal_number == signal.SIGINT else os.kill)(parent.pid, signal_number)
        said = parent.stderr.read()  # until nobody has it open any more
    assert b"Process" not in said
