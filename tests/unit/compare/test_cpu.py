import os
from pathlib import Path

from zramfs.compare.cpu import CpuTime, read_cpu_time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def add_thread(proc: Path, tid: int, comm: str, *, schedstat: str | None = None, stat: str = "") -> None:
    task = proc / "7" / "task" / str(tid)
    task.mkdir(parents=True)
    (task / "comm").write_text(f"{comm}\n")
    (task / "stat").write_text(stat)
    if schedstat is not None:
        (task / "schedstat").write_text(schedstat)


def test_cpu_time_is_told_apart_by_thread(tmp_path: Path) -> None:
    add_thread(tmp_path, 7, "zramfs", schedstat="1500000000 1 1\n")
    add_thread(tmp_path, 8, "zramfs-eng-0", schedstat="2000000000 1 1\n")
    add_thread(tmp_path, 9, "zramfs-eng-1", schedstat="500000000 1 1\n")
    add_thread(tmp_path, 10, "zramfs", schedstat="250000000 1 1\n")
    for tid, name in enumerate(("zramfs-recv-1", "zramfs-ring-0", "zramfs-crew-0"), 11):
        add_thread(tmp_path, tid, name, schedstat="1000000000 1 1\n")
    assert read_cpu_time(7, tmp_path) == CpuTime(serving=4.5, other=0.25, engines=2.5)


def test_cpu_time_comes_from_ticks_where_there_is_no_schedstat(tmp_path: Path) -> None:
    fields = ["S", *"0" * 10, str(2 * TICKS_PER_S), str(TICKS_PER_S), "0"]
    add_thread(tmp_path, 7, "zramfs", stat=f"7 (a) name) {' '.join(fields)}\n")
    assert read_cpu_time(7, tmp_path) == CpuTime(serving=3)


def test_cpu_time_of_a_span_is_the_difference() -> None:
    assert CpuTime(3, 2, 1) - CpuTime(1, 1, 1) == CpuTime(2, 1, 0)


def test_cpu_time_of_this_process_is_serving_time() -> None:
    assert read_cpu_time(os.getpid()).serving > 0
