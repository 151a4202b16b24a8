"""The verb: what it prints, and the line and the exit code that bad usage gets."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mounts import prepared

SCENARIO = """
summary = "a test"
duration_ms = 20
[machine]
table = "ryzen-7950x"
[[devices]]
profile = "iaa"
[[loads]]
kind = "closed"
name = "flood"
tasks = 16
async = true
"""


def simulate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zramfs.cli.main", "simulate", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "server.toml"
    path.write_text(SCENARIO)
    return path


def test_one_scenario_is_shown_with_all_that_was_measured(path: Path) -> None:
    result = simulate(path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "server: a test" in result.stdout
    assert "async write" in result.stdout
    assert "throughput" in result.stdout


def test_varied_keys_make_rows(path: Path) -> None:
    result = simulate(path, "--vary", "policy=percpu,auto", "--vary", "page_ns=1000,2000")
    rows = [line.split()[:2] for line in result.stdout.splitlines() if line.strip().startswith(("percpu", "auto"))]
    assert rows == [["percpu", "1000"], ["percpu", "2000"], ["auto", "1000"], ["auto", "2000"]]


def test_policies_are_judged_below_the_rows(path: Path) -> None:
    result = simulate(path, "--vary", "policy=percpu,auto")
    assert result.stdout.splitlines()[-1].startswith("policy=auto: ")


def test_break_even_is_a_sentence_on_the_terminal_in_json_and_in_the_report(path: Path, tmp_path: Path) -> None:
    report = tmp_path / "out.html"
    few = ["--break-even", "--vary", "page_ns=1000,50000", "--vary", "engines=1", "--vary", "queue_depth=16"]
    shown = simulate(path, *few, "--report", report)
    assert (shown.returncode, shown.stderr) == (0, "")
    told = json.loads(simulate(path, *few, "--json").stdout)["break_even"]
    assert told["sentence"].startswith("Managed streams beat per-CPU ones for this load")
    assert told["sentence"] in shown.stdout
    page = report.read_text()
    assert told["sentence"] in page
    assert "--vary page_ns=1000,50000" in page
    assert "seed 1" in page


def test_json_has_everything_and_is_the_same_for_a_seed(path: Path) -> None:
    first, second = (json.loads(simulate(path, "--seed", "5", "--json").stdout) for _ in range(2))
    assert first["command"].startswith("zramfs simulate ")
    (result,) = first["results"]
    assert result["scenario"]["seed"] == 5
    assert result["scenario"]["devices"][0]["profile"]["settings"]["page_ns"]["basis"] == "published"
    assert result["latencies"]["async_writes"]["percentiles_us"].keys() == {"p50", "p90", "p99", "p99.9", "p99.99"}
    assert result["loads"][0]["submitted"] == result["loads"][0]["ended"] > 0
    del result["wall_s"], second["results"][0]["wall_s"]
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SCENARIO", "--vary", "polcy=auto"], "--vary polcy: unknown key: did you mean policy?"),
        (["SCENARIO", "--vary", "policy"], "is not KEY=VALUE"),
        (["SCENARIO", "--seed", "-1"], "-1"),
        (["/nowhere.toml"], "/nowhere.toml cannot be read: No such file or directory"),
        ([], "give a SCENARIO, or --calibrate OUT.toml"),
        (["SCENARIO", "--through", "/"], "--through goes with --calibrate"),
        (["SCENARIO", "--break-even", "--vary", "policy=auto"], "with --break-even these vary: page_ns, engines"),
        (["SCENARIO", "--report", "/nowhere/at/all.html"], "/nowhere/at/all.html cannot be written"),
        (["SCENARIO", "--calibrate", "x.toml"], "give a SCENARIO, or --calibrate OUT.toml"),
    ],
)
def test_bad_usage_gets_one_line_and_exit_code_2(arguments: list[str], message: str, path: Path) -> None:
    result = prepared("simulate", *(path if each == "SCENARIO" else each for each in arguments))
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_table_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    result = simulate("--calibrate", tmp_path / "none" / "x.toml")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "No such file or directory" in result.stderr


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in user mode."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) / os.sysconf("SC_CLK_TCK")


def test_ctrl_c_ends_it_with_what_there_is(path: Path) -> None:
    path.write_text(SCENARIO.replace("duration_ms = 20", "duration_ms = 1e9"))
    command = [sys.executable, "-m", "zramfs.cli.main", "simulate", str(path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while cpu_seconds(process.pid) < 2:  # the time that it has had, however busy the machine is
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert json.loads(stdout)["results"][0]["is_partial"]
    assert stderr.startswith("zramfs: ended early, the result is partial: ")


@pytest.mark.parametrize("content", [None, "an older table"])
def test_calibration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, content: str | None) -> None:
    table = tmp_path / "x.toml"
    if content:
        table.write_text(content)
    result = simulate("--calibrate", table, "--through", tmp_path)
    assert result.returncode == 2
    assert (table.read_text() if table.exists() else None) == content
