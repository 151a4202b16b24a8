"""What a program that is killed had made of its disk: swap, or a file system, on a loop device."""

import subprocess
from pathlib import Path

import pytest
from library_programs import started, wait_until_gone


def test_program_that_is_killed_leaves_neither_swap_nor_loop_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process, path, pid = started(tmp_path, "with disk.swap(): print('swapped', flush=True); time.sleep(600)")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "swapped\n"
        process.kill()
    wait_until_gone(path, pid)
    assert str(path) not in subprocess.check_output(["losetup", "--list", "--noheadings"], text=True)
    assert "deleted" not in Path("/proc/swaps").read_text()


def test_program_that_is_killed_leaves_no_file_system_that_was_mounted_from_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    within = (
        f"with disk.loop() as loop: os.system(f'mkfs.ext4 -q {{loop}} && mount {{loop}} {tmp_path}/files'); "
        f"print(os.path.ismount('{tmp_path}/files'), flush=True); time.sleep(600)"
    )
    process, path, pid = started(tmp_path, within)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        process.kill()
    wait_until_gone(path, pid)
    assert not (tmp_path / "files").is_mount()
    assert str(path) not in subprocess.check_output(["losetup", "--list", "--noheadings"], text=True)
