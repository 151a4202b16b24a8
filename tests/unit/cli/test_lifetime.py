"""A verb's process: what it prints arrives and what it registered is done, though Python's own end is left out."""

import subprocess
import sys
from pathlib import Path

import pytest


def run_program(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_end_writes_what_is_printed_and_calls_what_is_registered() -> None:
    program = (
        "import atexit, sys; from zramfs.cli.lifetime import end; "
        "atexit.register(print, 'registered'); sys.stdout.write('printed, '); end(7)"
    )
    result = run_program(program)
    assert (result.returncode, result.stdout, result.stderr) == (7, "printed, registered\n", "")


def test_end_clears_no_memory() -> None:
    program = (
        "from zramfs.cli.lifetime import end\n"
        "class Cleared:\n"
        "    def __del__(self): print('cleared')\n"
        "kept = Cleared()\n"
        "end(0)"
    )
    assert run_program(program).stdout == ""


def test_end_waits_for_a_thread_that_works() -> None:
    program = (
        "import threading, time; from zramfs.cli.lifetime import end; "
        "threading.Thread(target=lambda: (time.sleep(0.3), print('worked'))).start(); end(3)"
    )
    result = run_program(program)
    assert (result.returncode, result.stdout) == (3, "worked\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_end_needs_no_stream(stream: str) -> None:
    assert run_program(f"import sys; from zramfs.cli.lifetime import end; sys.{stream} = None; end(4)").returncode == 4


@pytest.mark.parametrize("verb", [["--version"], ["accel", "list"], ["status", "--json"]])
def test_a_full_disk_is_one_line_of_error(verb: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "zramfs", *verb], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (1, "zramfs: No space left on device\n")


_SHOW_COLLECTOR = """
import gc, sys
from zramfs.cli.lifetime import load_what_stays
load_what_stays()
from zramfs.cli import program
import click
@click.command()
def verb(): print(gc.isenabled(), gc.get_freeze_count() > 10_000)
program._Verbs.get_command = lambda *_: verb
program.run("zramfs", ["verb"])
"""


def test_a_verb_collects_its_garbage_but_looks_through_no_module() -> None:
    result = run_program(_SHOW_COLLECTOR)
    assert result.stdout == "True True\n", result.stderr


def test_who_uses_the_verbs_as_a_library_keeps_the_collector_as_it_is() -> None:
    program = (
        "import gc; from zramfs.cli.program import run; run('zramfs', ['accel', 'list']); "
        "print(gc.isenabled(), gc.get_freeze_count())"
    )
    assert run_program(program).stdout.splitlines()[-1] == "True 0"
