"""The folder of a process that opened a control file."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zramfs.caller import Caller

_CLONE_NEWNS = 0x20000


def test_the_folder_is_where_the_process_is_now(tmp_path: Path) -> None:
    program = "import os, sys; sys.stdin.readline(); os.chdir('there'); print('ok', flush=True); sys.stdin.readline()"
    (tmp_path / "there").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        caller = Caller(process.pid)
        assert caller.folder() == str(tmp_path)
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()
        assert caller.folder() == str(tmp_path / "there")
        process.stdin.write("end\n")
    assert caller.folder() == ""
    caller.close()
    caller.close()


@pytest.mark.parametrize("pid", [0, 1 << 30])
def test_a_process_that_cannot_be_seen_has_none(pid: int) -> None:
    assert Caller(pid).folder() == ""


def test_the_folder_of_another_mount_namespace_is_not_known() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        unshared = ctypes.CDLL(None).unshare(_CLONE_NEWNS)
        os.write(write, b"0" if unshared else b"1")
        signal.pause()
    try:
        if os.read(read, 1) == b"0":
            pytest.skip("unshare needs CAP_SYS_ADMIN")
        caller = Caller(child)
        assert caller.folder() == ""
        caller.close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)
