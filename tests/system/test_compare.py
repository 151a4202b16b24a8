"""`zramfs compare` from beginning to end: short runs on real mounts, of which none may stay behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from mounts import ZRAMFS, prepared

SHORT = ("--runtime", "0.3", "--rounds", "1", "--size", "64M")


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let compare make its folders in one of this test's, which must be empty at the end."""
    if shutil.which("fio") is None:
        pytest.skip("fio is not installed")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert list(folder.iterdir()) == []
    assert str(folder) not in Path("/proc/mounts").read_text()


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ZRAMFS, "compare", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=100
    )


MEASURING_BRIEFLY: Final = """
import sys
from zramfs import verbs
from zramfs.cli import main
verbs._PROGRAM = (sys.executable, "-c", '''
import sys
from zramfs.cli import main
from zramfs.simulate import calibrate, mounted
calibrate._ENOUGH_NS = mounted._ENOUGH_NS = 1_000_000
calibrate._REPEATS = mounted._REPEATS = 3
calibrate._SPEEDS_S = 0.2
sys.argv[0] = "zramfs"
main.main()
''')
sys.argv[0] = "zramfs"
main.main()
"""
"""`zramfs`; the verbs that it starts measure each thing three times for 1 ms, where 20 s would go by in all."""

WITH_A_TABLE: Final = """
import sys
from zramfs.cli import compare, main
compare.measure_machine = lambda table: table.write_text("as it was measured")
sys.argv[0] = "zramfs"
main.main()
"""
"""`zramfs`, but that this machine is not measured."""


def run_as(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_compare_prints_a_row_for_each_policy() -> None:
    result = compare(*SHORT)
    assert result.returncode == 0, result.stderr
    first_words = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    assert [word for word in first_words if word in ("percpu", "managed", "auto")][:3] == ["percpu", "managed", "auto"]
    assert len(result.stderr.splitlines()) == 3


def test_compare_json_shows_what_the_settings_did() -> None:
    result = compare(*SHORT, "--workload", "async-flood", "--vary", "policy=percpu,managed", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    percpu, managed = report["settings"]
    assert report["complete"] is True
    assert (percpu["setting"], managed["setting"]) == ({"policy": "percpu"}, {"policy": "managed"})
    assert percpu["figures"]["managed_pages"]["median"] == 0
    assert managed["figures"]["managed_pages"]["median"] > 0
    assert managed["figures"]["cpu_device_s_per_gib"]["median"] > 0
    assert percpu["figures"]["async_p50_us"]["median"] <= percpu["figures"]["async_p99_us"]["median"]
    assert (percpu["kept_up"], percpu["conclusion"]) == (None, "")
    assert re.search(r"Hardware would have (saved|cost) [0-9.]+ CPU s/GiB", managed["conclusion"])


def test_compare_varies_the_accelerator() -> None:
    result = compare(*SHORT, "--workload", "async-flood", "--vary", "queue_depth=8,64", "--json")
    reached = [row["figures"]["queue_depth_reached"]["median"] for row in json.loads(result.stdout)["settings"]]
    assert reached == [8, 64]


def test_compare_of_a_device_that_no_machine_can_emulate_warns_and_says_how_to_simulate_it(tmp_path: Path) -> None:
    scenario = tmp_path / "ask.toml"
    device = "iaa,page_ns=0,job_ns=1,submit_ns=0,interrupt_ns=0,engines=64"
    options = ("--workload", "async-flood", "--accel", device, "--vary", "policy=auto", "--scenario", scenario)
    result = run_as(MEASURING_BRIEFLY, "compare", *SHORT, *options)
    assert result.returncode == 0, result.stderr
    assert "this machine's table is missing" not in result.stderr, result.stderr
    words = " ".join(result.stdout.split())
    assert "Warning: policy=auto: no verdict. This machine cannot emulate the device: " in words
    assert words.endswith(f"A simulation can answer: zramfs simulate {scenario} --vary policy=auto")
    (simulated,) = tomllib.loads(scenario.read_text())["devices"]
    assert simulated["engines"] == 64
    machine = tomllib.loads((tmp_path / "ask-machine.toml").read_text())
    assert machine["costs"]["request"]["basis"] == "measured"


def test_compare_json_has_warning_device_and_command_and_a_scenario_in_a_temporary_file() -> None:
    options = ("--workload", "async-flood", "--accel", "iaa,page_ns=1", "--vary", "policy=auto", "--json")
    result = run_as(WITH_A_TABLE, "compare", *SHORT, *options)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    (row,) = report["settings"]
    assert (row["kept_up"], row["conclusion"]) == (False, "")
    assert row["figures"]["late_percent"]["median"] > 10
    assert row["figures"]["run_p50_us"]["median"] > row["figures"]["model_p50_us"]["median"]
    assert row["profile"]["settings"]["queue_depth"]["basis"] == "published"
    scenario = Path(report["simulate"].split()[2])
    assert tomllib.loads(scenario.read_text())["loads"][0]["name"] == "flood"
    table = scenario.with_name(f"{scenario.stem}-machine.toml")
    assert table.read_text() == "as it was measured"
    scenario.unlink()
    table.unlink()


def test_compare_runs_a_job_file_of_the_users(tmp_path: Path) -> None:
    job_file = tmp_path / "own.fio"
    job_file.write_text("[own]\nfilename=${ZRAMFS_FILE}\nrw=rw\nbs=4k\nsize=1M\nsync=dsync\ndirect=1\n")
    result = compare(*SHORT, "--workload", job_file, "--vary", "policy=auto", "--json")
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)["settings"]
    assert {"sync_iops", "read_iops"} <= set(row["figures"])
    assert row["figures"]["percpu_pages"]["median"] > 0


def test_compare_storms_swap() -> None:
    result = compare(*SHORT, "--workload", "swap-storm", "--vary", "policy=auto", "--json")
    if "needs a memory cgroup" in result.stderr:
        pytest.skip(result.stderr)
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)["settings"]
    assert row["figures"]["swap_mb_s"]["median"] > 0
    assert row["figures"]["managed_pages"]["median"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_compare_that_is_interrupted_shows_what_it_has(number: signal.Signals) -> None:
    began = subprocess.Popen(
        [ZRAMFS, "compare", "--runtime", "0.3", "--rounds", "1000", "--size", "64M", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert began.stderr is not None
    began.stderr.readline()  # the first run is complete
    time.sleep(0.5)
    os.kill(began.pid, number)
    stdout, stderr = began.communicate(timeout=60)
    assert began.returncode == 130
    assert "zramfs: ended early, after" in stderr.splitlines()[-1]
    report = json.loads(stdout)
    assert report["complete"] is False
    assert report["settings"][0]["figures"]["sync_iops"]["median"] > 0


def test_compare_report_stands_alone(tmp_path: Path) -> None:
    report = tmp_path / "out.html"
    result = compare(*SHORT, "--vary", "policy=percpu,auto", "--report", report)
    assert result.returncode == 0, result.stderr
    page = report.read_text()
    headings = (
        "Throughput",
        "Latency distribution",
        "CPU time",
        "Queue depth over time",
        "Where a request's time goes",
    )
    assert [heading for heading in headings if f"<h2>{heading}</h2>" not in page] == []
    assert page.count("<svg") == 6
    assert not re.search(r"""(src|href)=["']https?:""", page)
    assert "zramfs mount " in page
    for heading in ("Verdict", "The device: ideal"):
        assert f"<h2>{heading}</h2>" in page


def test_compare_that_is_interrupted_reports_what_it_has(tmp_path: Path) -> None:
    report = tmp_path / "out.html"
    options = ("--runtime", "0.3", "--rounds", "1000", "--size", "64M", "--report", str(report))
    began = subprocess.Popen([ZRAMFS, "compare", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert began.stderr is not None
    began.stderr.readline()
    began.send_signal(signal.SIGINT)
    began.communicate(timeout=60)
    assert began.returncode == 130
    assert "1 of 3000 runs complete" in report.read_text()


def test_compare_report_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    result = compare(*SHORT, "--report", tmp_path / "nowhere" / "out.html")
    assert (result.returncode, result.stdout) == (2, "")
    assert "nowhere/out.html cannot be written" in result.stderr


def test_compare_that_fails_says_under_which_setting(tmp_path: Path) -> None:
    job_file = tmp_path / "past.fio"
    job_file.write_text("[past]\nfilename=${ZRAMFS_FILE}\nrw=write\nbs=4k\noffset=63M\nsize=2M\ndirect=1\n")
    result = compare(*SHORT, "--workload", job_file, "--vary", "policy=auto")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("zramfs: policy=auto: fio failed: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--vary", "queue_depth"), "is not KEY=VALUE"),
        (("--vary", "speed=1,2"), "'speed' is nothing that varies"),
        (("--vary", "policy=slow"), "no stream policy 'slow'"),
        (("--workload", "flood"), "no workload 'flood'"),
        (("--rounds", "0"), "--rounds"),
        (("--runtime", "soon"), "--runtime"),
        (("--accel", "warp"), "no accelerator profile 'warp'"),
    ],
)
def test_compare_with_bad_usage_is_one_line(arguments: tuple[str, ...], complaint: str) -> None:
    result = prepared("compare", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert complaint in result.stderr
