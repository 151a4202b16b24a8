"""Verbs whose caller has closed a standard stream, as cron jobs and services do: Python then has None for it."""

import subprocess
import sys

import pytest


def run_without(fd: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = f'exec "$@" {fd}>&-'
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "zramfs", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("fd", [0, 1])
@pytest.mark.parametrize("arguments", [["status", "--json"], ["loop", "list"], ["accel", "list"], ["--version"]])
def test_verb_that_prints_ends_well_without_a_stream(fd: int, arguments: list[str]) -> None:
    done = run_without(fd, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (fd == 0)


@pytest.mark.parametrize("fd", [0, 1])
def test_top_without_a_stream_says_that_it_needs_a_terminal(fd: int) -> None:
    done = run_without(fd, "top")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "this is no terminal" in done.stderr


def test_error_is_never_printed_among_results() -> None:
    done = run_without(2, "umount", "/nowhere")
    assert (done.returncode, done.stdout) == (1, "")
