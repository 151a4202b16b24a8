"""Callers that leave an odd process to zramfs: no SIGCHLD, few open files, a working directory that has gone."""

import subprocess
import sys
from pathlib import Path

import pytest
from mounts import ZRAMFS, is_mounted, zramfs

WITHOUT_SIGCHLD = "trap '' CHLD"


def shell(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)


def test_caller_that_ignores_sigchld_can_mount(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    done = shell(
        f"{WITHOUT_SIGCHLD}; {ZRAMFS} mount {path} --size 16M --log-file {tmp_path}/log && {ZRAMFS} umount {path}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not is_mounted(path)


def test_caller_that_ignores_sigchld_can_run_a_command() -> None:
    done = shell(f"{WITHOUT_SIGCHLD}; {ZRAMFS} run --size 16M -- sh -c 'exit 7'")
    assert (done.returncode, done.stderr) == (7, "")


def test_program_that_ignores_sigchld_has_a_disk_and_hears_of_errors(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, zramfs\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "with zramfs.mount(size='16M') as disk:\n"
        "    print(disk.status().devices[0].disksize)\n"
        "    try:\n"
        "        disk.loop().__enter__()\n"
        "    except zramfs.CommandFailed as error:\n"
        "        print(error)\n"
        "try:\n"
        "    zramfs.mount(size='much').__enter__()\n"
        "except zramfs.BadUsage as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    size, no_loop, no_mount = done.stdout.splitlines()
    assert int(size) == 16 << 20
    assert no_loop == "the program ignores SIGCHLD, and could not hear whether zramfs loop has worked"
    assert "'much' is not a size" in no_mount


def test_soft_limit_of_open_files_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    done = shell(f"ulimit -S -n 20; {ZRAMFS} mount {path} --size 16M --devices 9 --log-file {tmp_path}/log")
    assert (done.returncode, done.stderr) == (0, "")
    assert zramfs("umount", path).returncode == 0


@pytest.mark.parametrize("verb", ["mount {path} --size 16M --log-file /dev/null", "run --size 16M -- true"])
def test_hard_limit_of_open_files_is_told(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "mnt"
    path.mkdir()
    without_the_right = "setpriv --bounding-set -sys_resource --inh-caps -sys_resource"
    done = shell(f"ulimit -n 20; exec {without_the_right} {ZRAMFS} {verb.format(path=path)}")
    assert (done.returncode, done.stderr) == (
        1,
        "zramfs: 20 files may be open, and the daemon needs 68: raise the limit (ulimit -n)\n",
    )


@pytest.mark.parametrize("verb", ["status x", "umount x", "mount x", "loop attach x"])
def test_working_directory_that_has_gone_is_told(tmp_path: Path, verb: str) -> None:
    done = shell(f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir ../gone; {ZRAMFS} {verb}")
    assert (done.returncode, done.stderr) == (1, "zramfs: the working directory has been removed: go to another one\n")
