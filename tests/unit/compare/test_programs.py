import os
import signal
import threading
from pathlib import Path

import pytest

from zramfs.compare.programs import Interrupted, Interruption, run_workload, shown
from zramfs.errors import CommandFailed


def interrupt_soon() -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_interruption_notes_a_signal_and_restores_its_handler() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        interruption.check()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            interruption.check()
    assert signal.getsignal(signal.SIGINT) is before


def test_workload_has_its_output_in_a_file_and_its_last_line_of_error(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo $GREETING; echo first >&2; echo last >&2; exit 3"]
    ended = run_workload(command, tmp_path / "out", Interruption(), environment={"GREETING": "hello"})
    assert ended == (3, "last")
    assert (tmp_path / "out").read_text() == "hello\n"


def test_workload_that_is_interrupted_is_asked_to_end_and_waited_for(tmp_path: Path) -> None:
    command = ["sh", "-c", r'trap "echo undone; kill \$!; exit" TERM; sleep 60 & wait']
    interrupt_soon()
    with Interruption() as interruption, pytest.raises(Interrupted):
        run_workload(command, tmp_path / "out", interruption)
    assert (tmp_path / "out").read_text() == "undone\n"


def test_workload_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no-such-program is missing: install the package that has it"):
        run_workload(["no-such-program"], tmp_path / "out", Interruption())


def test_command_is_shown_as_one_types_it() -> None:
    assert shown("fio", "my jobs.fio", environment={"ZRAMFS_FILE": "/a b"}) == "ZRAMFS_FILE='/a b' fio 'my jobs.fio'"
