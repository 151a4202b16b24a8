"""The switch of FUSE over io_uring is on while any run of the tests needs it, and then as it was before the first."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uring_switch
from uring_switch import uring_switched_on

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from uring_switch import uring_switched_on
with uring_switched_on(*map(Path, sys.argv[2:])) as is_on:
    print(is_on, flush=True)
    sys.stdin.read()
"""

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def switch(tmp_path: Path) -> Path:
    path = tmp_path / "enable_uring"
    path.write_text("N\n")
    return path


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


@pytest.fixture
def start(switch: Path, record: Path) -> Iterator[Start]:
    """Start a run, in a process of its own as its locks are, and return when it has begun."""
    runs = ExitStack()

    def start_one() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", RUN, str(Path(uring_switch.__file__).parent), str(switch), str(record)]
        run = runs.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        runs.callback(run.kill)
        assert run.stdout is not None
        assert run.stdout.readline() == "True\n"
        return run

    with runs:
        yield start_one


def end(run: "subprocess.Popen[str]") -> None:
    assert run.stdin is not None
    run.stdin.close()
    assert run.wait() == 0


@pytest.mark.parametrize("before", ["N\n", "Y\n"])
def test_switch_is_on_within_and_then_as_it_was(switch: Path, record: Path, before: str) -> None:
    switch.write_text(before)
    with uring_switched_on(switch, record) as is_on:
        assert is_on
        assert switch.read_text() == "Y\n"
    assert switch.read_text() == before


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first ends first", "first ends last"])
def test_last_of_two_runs_puts_the_switch_back(start: Start, switch: Path, order: tuple[int, int]) -> None:
    runs = [start(), start()]
    end(runs[order[0]])
    assert switch.read_text() == "Y\n"
    end(runs[order[1]])
    assert switch.read_text() == "N\n"


def test_run_after_a_killed_one_puts_back_what_that_one_found(start: Start, switch: Path) -> None:
    killed = start()
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert switch.read_text() == "Y\n"
    end(start())
    assert switch.read_text() == "N\n"


def test_killed_run_beside_another_changes_nothing(start: Start, switch: Path) -> None:
    killed, other = start(), start()
    killed.kill()
    killed.wait()
    end(other)
    assert switch.read_text() == "N\n"


def test_runs_that_end_at_once_put_the_switch_back(start: Start, switch: Path) -> None:
    runs = [start() for _ in range(6)]
    for run in runs:
        assert run.stdin is not None
        run.stdin.close()
    assert [run.wait() for run in runs] == [0] * 6
    assert switch.read_text() == "N\n"


def test_kernel_without_the_switch_has_no_uring_and_gets_no_record(tmp_path: Path, record: Path) -> None:
    with uring_switched_on(tmp_path / "missing" / "enable_uring", record) as is_on:
        assert not is_on
    assert not record.exists()
