"""An accelerator that is slow, full, broken or gone: it costs time, and never a byte."""

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mounts import MIB, Mounted

from zramfs.accel.faults import FAULT_KINDS
from zramfs.accel.profile import load_profile, profile_names
from zramfs.accel.settings import SETTINGS, Number

Mount = Callable[..., Mounted]
Fio = Callable[..., None]

PAGE = 4096
DIRECT = ("--direct=1", "--ioengine=libaio", "--iodepth=32", "--bs=4k", "--buffer_compress_percentage=60")
LATENESS = ("model_p50_us", "observed_p50_us", "model_p99_us", "observed_p99_us", "late_completions")
COUNTED = ("timeout", "bus_error", "corrupt")


def counters(mounted: Mounted) -> dict[str, float]:
    lines = mounted.show("accel/stat").splitlines()
    return {key: float(value) for key, value in (line.split() for line in lines)}


def set_(mounted: Mounted, **settings: object) -> None:
    for key, value in settings.items():
        mounted.attribute(f"accel/{key}").write_text(f"{value}\n")


def assert_nothing_is_left(mounted: Mounted) -> None:
    assert counters(mounted)["inflight"] == 0
    assert mounted.show("io_stat").split() == ["0", "0", "0", "0"]


@contextmanager
def synchronous_writer(file: Path, fio: Fio) -> Iterator[None]:
    """Let fio write synchronously, with verification, beside the block; its failure is the block's."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            fio(file, "--rw=randwrite", "--bs=4k", "--direct=1", "--sync=1", "--ioengine=psync", "--offset=192M",
                "--size=16M", "--buffer_compress_percentage=60")  # fmt: skip
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failures, failures


def test_100000_mixed_faults_lose_nothing_and_are_all_counted(mount: Mount, fio: Fio) -> None:
    mounted = mount("--accel", "ideal,timeout_us=1000,stall_us=50")
    set_(mounted, fault_timeout="1/5", fault_bus_error="1/3", fault_corrupt="0.5", fault_stall="1/40")
    with synchronous_writer(mounted.file, fio):
        while sum(counters(mounted)[f"injected_{kind}"] for kind in FAULT_KINDS) < 100_000:
            fio(mounted.file, "--rw=randwrite", *DIRECT, "--bs=64k", "--numjobs=2", "--size=96M",
                "--offset_increment=96M")  # fmt: skip
    counted = counters(mounted)
    for kind in COUNTED:
        assert counted[f"injected_{kind}"] > 1000
    assert counted["injected_stall"] > 1000
    assert counted["errors_bus_error"] == counted["injected_bus_error"]
    assert counted["errors_corrupt"] == counted["injected_corrupt"]
    assert counted["errors_timeout"] == counted["injected_timeout"]
    assert counted["software_redone"] == counted["completion_errors"] == sum(counted[f"injected_{k}"] for k in COUNTED)
    assert_nothing_is_left(mounted)

    set_(mounted, **{f"fault_{kind}": 0 for kind in FAULT_KINDS})
    before = counters(mounted)
    fio(mounted.file, "--rw=randwrite", *DIRECT, "--size=32M")
    after = counters(mounted)
    assert after["polled_pages"] - before["polled_pages"] == after["submitted_pages"] - before["submitted_pages"] > 0
    assert after["completion_errors"] == before["completion_errors"]
    assert_nothing_is_left(mounted)


@pytest.mark.parametrize("accelerator", ["poc", "qpace,when_full=wait,queue_depth=16"])
def test_device_that_goes_and_comes_100_times_costs_no_writer_an_error(
    mount: Mount, fio: Fio, accelerator: str
) -> None:
    mounted = mount("--accel", accelerator)
    stopped = threading.Event()
    switched = 0

    def switch() -> None:
        nonlocal switched
        while switched < 100 or not stopped.is_set():
            set_(mounted, state="offline")
            stopped.wait(0.005)
            set_(mounted, state="online")
            stopped.wait(0.005)
            switched += 1

    thread = threading.Thread(target=switch)
    thread.start()
    try:
        with synchronous_writer(mounted.file, fio):
            while switched < 100:
                fio(mounted.file, "--rw=randwrite", *DIRECT, "--size=32M", "--numjobs=2", "--offset_increment=32M")
    finally:
        stopped.set()
        thread.join()
    assert mounted.show("accel/state") == "online\n"
    counted = counters(mounted)
    assert counted["errors_offline"] == counted["software_redone"] == counted["completion_errors"] > 0
    assert mounted.streams()["fallback_pages"] > 0
    assert_nothing_is_left(mounted)


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_stores_what_is_written(mount: Mount, fio: Fio, profile: str) -> None:
    mounted = mount("--accel", profile)
    fio(mounted.file, "--rw=randrw", *DIRECT, "--size=8M")
    fio(mounted.file, "--rw=write", *DIRECT, "--bs=1M", "--iodepth=4", "--size=16M")
    assert mounted.streams()["managed_pages"] > 0
    assert mounted.show("accel/profile") == f"{profile}\n"
    assert counters(mounted)["completion_errors"] == 0
    assert_nothing_is_left(mounted)


@pytest.mark.parametrize("when_full", ["fallback", "wait"])
def test_overload_falls_back_or_waits_as_when_full_says(mount: Mount, fio: Fio, when_full: str) -> None:
    mounted = mount("--accel", f"poc,queue_depth=4,page_ns=50000,when_full={when_full}")
    fio(mounted.file, "--rw=randwrite", *DIRECT, "--size=4M")
    fio(mounted.file, "--rw=write", *DIRECT, "--bs=256k", "--iodepth=8", "--size=16M")
    streams = mounted.streams()
    assert streams["managed_pages"] + streams["fallback_pages"] == 20 * MIB // PAGE
    assert (streams["fallback_pages"] == 0) is (when_full == "wait")
    assert counters(mounted)["queue_full"] > 0
    assert counters(mounted)["inflight_max"] == 4
    assert_nothing_is_left(mounted)


def test_corruption_that_is_not_verified_is_seen_by_the_reader(mount: Mount) -> None:
    """As with the real thing: an error or wrong data, and only with verify_compress switched off."""
    mounted = mount("--accel", "ideal,fault_corrupt=1/1,verify_compress=0", size="4K")
    page = (b"stream, run, descriptor, doorbell; " * 118)[:PAGE]

    def is_intact() -> bool:
        command = ["dd", f"of={mounted.file}", "bs=4096", "count=1", "oflag=direct", "conv=notrunc", "status=none"]
        subprocess.run(command, input=page, check=True)
        try:
            return mounted.file.read_bytes()[:PAGE] == page
        except OSError as error:
            assert error.errno == errno.EIO
            return False

    assert not is_intact()
    assert counters(mounted)["completion_errors"] == 0
    set_(mounted, verify_compress=1)
    assert is_intact()
    assert counters(mounted)["errors_corrupt"] == 1


def test_settings_are_files_and_only_what_may_change_is_writable(mount: Mount) -> None:
    mounted = mount("--accel", "iaa")
    assert set(SETTINGS) | {"state", "profile", "workers", "stat"} == {
        file.name for file in mounted.attribute("accel").iterdir()
    }
    for key, setting in SETTINGS.items():
        mode = mounted.attribute(f"accel/{key}").stat().st_mode & 0o777
        assert mode == (0o444 if setting.is_fixed else 0o644), key
        refusal = os.strerror(errno.EACCES if setting.is_fixed else errno.EINVAL)
        with pytest.raises(OSError, match=refusal):
            set_(mounted, **{key: "nonsense"})
        if isinstance(setting, Number) and not setting.is_fixed:
            with pytest.raises(OSError, match=refusal):
                set_(mounted, **{key: setting.most + 1})
            set_(mounted, **{key: setting.most})
            assert mounted.show(f"accel/{key}") == f"{setting.most}\n"
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        set_(mounted, state="asleep")
    for key, mode in {"profile": 0o444, "workers": 0o444, "stat": 0o644}.items():  # 0 begins the counts anew
        assert mounted.attribute(f"accel/{key}").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("profile", ["qpace", "iaa"])
def test_observed_median_is_the_models_at_low_load(mount: Mount, fio: Fio, profile: str) -> None:
    """Within 10 %, in one round of several; a machine that is too slow for that must say so itself."""
    assert load_profile(profile).timing.takes_time
    seen = []
    for _ in range(5):
        mounted = mount("--accel", profile)
        fio(mounted.file, "--rw=randwrite", *DIRECT, "--iodepth=1", "--size=20M", "--do_verify=0")
        counted = counters(mounted)
        assert counted["submitted_pages"] == 20 * MIB // PAGE
        if abs(counted["observed_p50_us"] - counted["model_p50_us"]) <= 0.1 * counted["model_p50_us"]:
            return
        assert counted["observed_p50_us"] > counted["model_p50_us"], "told before its time"
        seen.append({key: counted[key] for key in LATENESS})
    for each in seen:
        was_late = each["late_completions"] > 20 * MIB // PAGE // 2
        assert was_late or each["observed_p99_us"] > 3 * each["model_p99_us"], (
            f"all in time, but not as the model: {seen}"
        )
